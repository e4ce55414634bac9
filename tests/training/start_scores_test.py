"""The scores of the weights that a run starts from, as a resumed run reads them."""

from reid_jax.files.json_files import write_json
from reid_jax.training.start_scores import read_start_scores


def test_scores_before_training_are_read_or_made_again(tmp_path, capsys):
    file, scores = tmp_path / "before.json", {"a": {"rank1": 0.5, "mAP": 0.25}}
    assert read_start_scores(file, ["a"]) is None
    write_json(file, scores)
    assert read_start_scores(file, ["a"]) == scores
    assert capsys.readouterr().out == ""
    for broken in (
        '{"a"',
        "5",
        "null",
        "{}",
        '{"a": {}}',
        '{"a": {"rank1": "1", "mAP": 1}}',
        '{"b": {}}',
        "[" * 200_000,
    ):
        file.write_text(broken)
        assert read_start_scores(file, ["a"]) is None
        (line,) = capsys.readouterr().out.splitlines()
        assert line.endswith("; the weights that the run starts from are scored again")
