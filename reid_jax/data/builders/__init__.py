"""A file a data set: from its folders, archives or tables to the records of a split."""
