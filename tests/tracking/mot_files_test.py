"""MOTChallenge text: what is written reads back, files of others read, and wrong lines are named with their number."""

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.mot_files import (
    PEDESTRIAN,
    UNKNOWN,
    Rows,
    read_detections,
    read_ground_truth,
    read_results,
    write_detections,
    write_ground_truth,
    write_results,
)


def assert_same(found, expected):
    for name in ("frame", "identity", "box", "confidence", "category", "visibility", "camera"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-3, err_msg=name)


def some(**columns):
    box = [[1.25, -3, 10, 20], [0, 0, 1, 1], [1e4, 5, 0.5, 2.125]]
    return Rows.of([1, 2, 2], box, **columns)


def test_ground_truth_reads_back(tmp_path):
    rows = some(identity=[3, 1, 2], confidence=[1, 0, 1], category=[PEDESTRIAN, 7, 1], visibility=[1, 0.25, 0])
    write_ground_truth(tmp_path / "new" / "gt.txt", rows)
    assert_same(read_ground_truth(tmp_path / "new" / "gt.txt"), rows)
    assert (tmp_path / "new" / "gt.txt").read_text().splitlines()[0] == "1,3,1.25,-3,10,20,1,1,1"


def test_detections_and_results_read_back_sorted(tmp_path):
    rows = some(confidence=[0.5, -2, 1])
    order = np.array([2, 0, 1])
    write_detections(tmp_path / "det.txt", rows.select(order))
    assert_same(read_detections(tmp_path / "det.txt"), rows.select(np.array([0, 2, 1])))  # equal frames as they came
    rows = some(identity=[1, 1, 2**31 - 1])
    write_results(tmp_path / "a.txt", rows.select(order))
    assert_same(read_results(tmp_path / "a.txt"), rows)
    assert (tmp_path / "a.txt").read_text().splitlines()[1] == "2,1,0,0,1,1,1,-1,-1,-1"


def test_the_camera_is_an_eleventh_column_where_there_are_several(tmp_path):
    rows = Rows.of([1, 1], np.ones((2, 4)), identity=[5, 5], camera=[0, 3])
    write_results(tmp_path / "a.txt", rows)
    assert (tmp_path / "a.txt").read_text() == "1,5,1,1,1,1,1,-1,-1,-1,0\n1,5,1,1,1,1,1,-1,-1,-1,3\n"
    assert_same(read_results(tmp_path / "a.txt"), rows)


def test_files_of_others_read(tmp_path):
    file = tmp_path / "a.txt"
    # 2015's places in the world are neither class nor visibility; spaces, '1.0', a byte order mark and '\r\n' are met.
    file.write_bytes(b"\xef\xbb\xbf1, 2.0, 1, 2, 3, 4, 1, 7.5, -3, 0\r\n\r\n")
    assert_same(read_ground_truth(file), Rows.of([1], [[1, 2, 3, 4]], identity=2, category=UNKNOWN))
    file.write_text("1,-1,1,2,3,4")
    assert_same(read_detections(file), Rows.of([1], [[1, 2, 3, 4]]))
    file.write_text("")
    assert len(read_results(file)) == 0
    assert read_results(file).by_frame() == {}


def test_frames_in_any_order_are_gathered(tmp_path):
    file = tmp_path / "det.txt"
    file.write_text("9,-1,1,1,1,1,1\n2,-1,2,2,2,2,1\n9,-1,3,3,3,3,1\n")
    rows = read_detections(file)
    found = {frame: rows.box[index, 0].tolist() for frame, index in rows.by_frame().items()}
    assert found == {2: [2], 9: [1, 3]}
    assert list(found) == [2, 9]
    np.testing.assert_array_equal(rows.corners[1], [2, 2, 4, 4])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0,1,1,1,1,1,1", r"line 2 \(the frame is 0; it takes a whole number from 1"),
        ("1.5,1,1,1,1,1,1", "the frame is 1.5"),
        ("2,-1,1,1,1,1,1", "the id is -1"),
        (f"2,{2**31},1,1,1,1,1", "the id is 2147483648; it takes .* 2,147,483,647"),
        ("2,1e300,1,1,1,1,1", "the id is 1e"),
        ("2,1,1,1,0,1,1", "0 wide and 1 high; both must be above 0"),
        ("2,1,1,1,1,-4,1", "1 wide and -4 high"),
        ("2,1,nan,1,1,1,1", "field 3 is 'nan', no finite number"),
        ("2,1,1,1,inf,1,1", "field 5 is 'inf'"),
        ("2,1,1,1,1,1,1e400", "field 7 is '1e400'"),
        ("2,1,1,x,1,1,1", "field 4 is 'x'"),
        ("2,1,1,1_0,1,1,1", "field 4 is '1_0'"),
        ("2,1,1,1,1", "5 fields; it takes 6 to"),
        ("2 1 1 1 1 1 1", "separated by commas"),
        ("1,1,5,5,5,5,1", r"id 1 has a box in frame 1 already, in line 1"),
        ("1,1,1,1,1,1,1,-1,-1,-1,-1,-1", "12 fields"),
    ],
)
@pytest.mark.parametrize("read", [read_results, read_ground_truth])
def test_a_wrong_line_is_named(tmp_path, line, reason, read):
    file = tmp_path / "a.txt"
    file.write_text(f"1,1,1,1,1,1,1\n{line}\n3,1,1,1,1,1,1\n")
    with pytest.raises(InputError, match=reason) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: 1 of 3 lines")
    assert "\n" not in str(caught.value)


def test_a_person_may_be_in_two_cameras_but_not_twice_in_one(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("1,1,1,1,1,1,1,-1,-1,-1,0\n1,1,1,1,1,1,1,-1,-1,-1,1\n")
    assert read_results(file).camera.tolist() == [0, 1]
    file.write_text("1,1,1,1,1,1,1,-1,-1,-1,1\n1,1,1,1,1,1,1,-1,-1,-1,1\n")
    with pytest.raises(InputError, match="already"):
        read_results(file)


def test_a_class_that_is_no_whole_number_is_named(tmp_path):
    file = tmp_path / "gt.txt"
    file.write_text("1,1,1,1,1,1,1,1.5,1\n")
    with pytest.raises(InputError, match="the class is 1.5"):
        read_ground_truth(file)


def test_what_is_no_file_of_rows_is_told(tmp_path):
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "unfinished.txt").write_text("1,1,1,1,1,1,1\n# to frame 1 of 5\n")
    for name, reason in (("none.txt", "there is no file"), (".", "cannot read"), ("binary.txt", "is no text")):
        with pytest.raises(InputError, match=reason):
            read_detections(tmp_path / name)
    with pytest.raises(InputError, match=r"run that did not end \(to frame 1 of 5\)"):
        read_results(tmp_path / "unfinished.txt")


def test_ten_fields_have_classes_where_all_of_a_file_may_be_classes(tmp_path):
    file = tmp_path / "gt.txt"
    file.write_text("1,1,1,2,3,4,1,1,0.5,-1\n1,2,1,2,3,4,1,7.0,1,-1\n1,3,1,2,3,4,1,-1,-1,-1\n")
    rows = read_ground_truth(file)
    assert rows.category.tolist() == [1, 7, UNKNOWN]
    assert rows.visibility.tolist() == [0.5, 1, UNKNOWN]
    for place in ("7.5", "-3", "0"):  # places in the world, of which some are whole numbers
        file.write_text(f"1,1,1,2,3,4,1,2,0.5,0\n1,2,1,2,3,4,1,{place},3,0\n")
        assert read_ground_truth(file).category.tolist() == [UNKNOWN, UNKNOWN]


def test_comments_of_others_are_passed_over(tmp_path):
    file = tmp_path / "det.txt"
    file.write_text("# frame,id,left,top,width,height,confidence\n1,-1,1,2,3,4,1\n # to be gone on with\nx\n")
    with pytest.raises(InputError, match="1 of 2 lines of detections .* line 4"):
        read_detections(file)
    file.write_text("# to frame it well\n1,-1,1,2,3,4,1\n")
    assert len(read_detections(file)) == 1


def test_a_side_is_never_written_as_0(tmp_path):
    write_results(tmp_path / "a.txt", Rows.of([1], [[1e-5, 2, 0.0004, 5e-9]], identity=1))
    assert (tmp_path / "a.txt").read_text() == "1,1,0,2,0.001,0.001,1,-1,-1,-1\n"
    assert len(read_results(tmp_path / "a.txt")) == 1
