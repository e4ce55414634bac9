"""`track run`: sources, detections and what describes people, in; results, drawn frames or one line, out."""

import numpy as np
import pytest
from PIL import Image

import reid_jax
from reid_jax.main import main
from reid_jax.tracking.mot_files import Rows, read_results, write_detections
from reid_jax.tracking.sequences import Sequence, write_seqinfo

SIZE = (100, 200)
RED, BLUE = (200, 30, 40), (30, 60, 200)
FRAMES = 12


def place(frame):
    """Where the red and the blue person stand: they walk past each other."""
    return [[20 + 8 * frame, 20, 20, 50], [130 - 8 * frame, 30, 20, 50]]


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """A sequence folder of two people, red and blue, who cross."""
    folder = tmp_path_factory.mktemp("sequences") / "A-01"
    write_seqinfo(Sequence(folder, "A-01", 10.0, FRAMES, SIZE, ending=".png"))
    (folder / "img1").mkdir()
    rows = []
    for number in range(1, FRAMES + 1):
        pixels = np.full((*SIZE, 3), 128, np.uint8)
        for (left, top, width, height), colour in zip(place(number), (RED, BLUE), strict=True):
            pixels[top : top + height, left : left + width] = colour
            rows.append((number, [left, top, width, height]))
        Image.fromarray(pixels).save(folder / "img1" / f"{number:06d}.png")
    write_detections(folder / "det" / "det.txt", Rows.of([row[0] for row in rows], [row[1] for row in rows]))
    return folder


def run(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    try:
        code = main(["track", "run", *map(str, arguments)])
    except SystemExit as left:
        code = left.code
    said = capsys.readouterr()
    return code or 0, said.out, said.err


def sides(path):
    """{identity: the x at which it is seen first and last}."""
    rows = read_results(path)
    found = {}
    for identity in np.unique(rows.identity).tolist():
        x = rows.box[rows.identity == identity, 0]
        found[identity] = (x[0] < 75, x[-1] < 75)
    return found


@pytest.mark.parametrize("looks", ["--embedder=histogram", "--weights=some"])
def test_people_who_cross_keep_their_identities(sequence, tmp_path, capsys, monkeypatch, looks):
    made = []

    class Extractor:
        dimensions = 3

        def __init__(self, weights, flip):
            made.append((weights, flip))

        def __call__(self, frame, boxes, *, colour):
            assert colour == "rgb"
            boxes = boxes.astype(int)
            return np.array([frame[(t + b) // 2, (x + r) // 2] / 255.0 for x, t, r, b in boxes])

    monkeypatch.setattr(reid_jax, "Extractor", Extractor, raising=False)
    code, out, err = run(capsys, sequence, looks, f"--results={tmp_path / 'a.txt'}", "--most_distance=0.5")
    assert (code, err) == (0, "")
    assert f"{tmp_path / 'a.txt'}: {FRAMES} frames, 2 people" in out
    assert "frames/s; the tracker" in out
    assert sorted(sides(tmp_path / "a.txt").values()) == [(False, True), (True, False)]
    assert made == ([("some", False)] if "weights" in looks else [])


def test_any_format_of_detections_and_descriptors_in_a_file(sequence, tmp_path, capsys):
    table = tmp_path / "det.csv"
    lines = (sequence / "det" / "det.txt").read_text().splitlines()
    order = np.random.default_rng(0).permutation(len(lines))
    rows = [lines[row].split(",") for row in order]
    table.write_text("frame,left,top,width,height\n" + "".join(f"{','.join([row[0], *row[2:6]])}\n" for row in rows))
    np.save(tmp_path / "looks.npy", np.eye(2)[order % 2])
    arguments = (f"--detections={table}", f"--embeddings={tmp_path / 'looks.npy'}", f"--results={tmp_path / 'a.txt'}")
    assert run(capsys, sequence, *arguments)[0] == 0
    assert sorted(sides(tmp_path / "a.txt").values()) == [(False, True), (True, False)]
    code, out, _ = run(capsys, sequence, *arguments, "--min_confidence=2")
    assert code == 0
    assert "0 people" in out


def test_frames_are_drawn_into_a_folder(sequence, tmp_path, capsys):
    arguments = (f"--detections={sequence / 'det' / 'det.txt'}", f"--results={tmp_path / 'a.txt'}")
    code, out, _ = run(capsys, sequence / "img1", "--embedder=none", *arguments, f"--render={tmp_path / 'seen'}")
    assert code == 0
    assert len(list((tmp_path / "seen").iterdir())) == FRAMES
    assert f"{tmp_path / 'seen'}: {FRAMES} frames" in out


def test_a_broken_frame_leaves_what_was_done_and_says_how_far(sequence, tmp_path, capsys):
    import shutil

    folder = tmp_path / "B"
    shutil.copytree(sequence, folder)
    (folder / "img1" / "000005.png").write_bytes(b"no image")
    code, out, err = run(capsys, folder, "--embedder=histogram", f"--results={tmp_path / 'a.txt'}")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "000005.png" in err
    assert f"results to frame 4 are in {tmp_path / 'a.txt.partial'}" in err
    assert (tmp_path / "a.txt.partial").read_text().splitlines()[-1] == f"# to frame 4 of {FRAMES}"
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--embedder=none"], "required: --results"),
        (["--results=a.txt"], "one of the arguments --weights --embedder --embeddings is required"),
        (["--embedder=none", "--weights=a", "--results=a.txt"], "not allowed with"),
        (["--embedder=none", "--results=/nowhere/\0"], "cannot be written"),
        (["--embedder=none", "--flip", "--results=a.txt"], "--flip is of descriptors"),
        (["--embedder=none", "--box_score=appearance", "--results=a.txt"], "needs --weights"),
        (["--embedder=none", "--most_distance=nan", "--results=a.txt"], "it takes a number from 0 to 2"),
        (["--embedder=none", "--detections=absent.json", "--results=a.txt"], "there is no file absent.json"),
        (["--embeddings=absent.npy", "--results=a.txt"], "there is no file absent.npy"),
        (["--embedder=none", "--render=", "--results=a.txt"], "--render is ''"),
        (["--embedder=none", "--render=seen.avi", "--results=a.txt"], "seen.avi; videos are written as .mp4 or .mkv"),
        (["--embedder=none", "--most_distance=0.5", "--results=a.txt"], "--most_distance is of descriptors"),
        (
            ["--embedder=none", "--results=a.txt", "--render=./a.txt"],
            "./a.txt, which --results writes, too",
        ),
        (["--embedder=none", "--results=a.partial"], ".partial is of runs that have not ended"),
        (["--embedder=none", "--category=1", "--results=a.txt"], "category 1 is given, but"),
    ],
)
def test_options_that_do_not_fit_are_told(sequence, tmp_path, capsys, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, sequence, *arguments)
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_what_is_no_sequence_needs_detections(sequence, tmp_path, capsys):
    _, _, err = run(capsys, sequence / "img1", "--embedder=none", f"--results={tmp_path / 'a.txt'}")
    assert "is no sequence folder, which has detections; give --detections=FILE" in err


def test_a_missing_frame_and_detections_beyond_the_end_are_told(sequence, tmp_path, capsys, monkeypatch):
    (tmp_path / "det.txt").write_text("1,-1,1,1,9,9,1\n99,-1,1,1,9,9,1\n")
    results = f"--results={tmp_path / 'a.txt'}"
    _, _, err = run(capsys, sequence, "--embedder=none", f"--detections={tmp_path / 'det.txt'}", results)
    assert "go to frame 99, but A-01 has 12 frames" in err
    (tmp_path / "det.txt").write_text("")
    write_seqinfo(Sequence(tmp_path, "C", 10.0, FRAMES, SIZE))  # without any image
    detections = f"--detections={tmp_path / 'det.txt'}"
    _, _, err = run(capsys, tmp_path, "--embedder=histogram", detections, results)
    assert "12 of 12 frames of C are missing" in err
    code, out, _ = run(capsys, tmp_path, "--embedder=none", detections, results)
    assert (code, "12 frames, 0 people" in out) == (0, True)


def test_what_is_read_is_not_written_over(sequence, tmp_path, capsys):
    import shutil

    folder = tmp_path / "A"
    shutil.copytree(sequence, folder)
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("1,1,1,1,9,9,1,1,1\n")
    np.save(tmp_path / "looks.npy", np.ones((2 * FRAMES, 2)))
    (folder / "img1" / "link.txt").symlink_to(folder / "det" / "det.txt")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    results, looks = f"--results={tmp_path / 'a.txt'}", "--embedder=none"
    det, text = f"--detections={folder / 'det' / 'det.txt'}", f"{folder / 'img1' / 'link.txt'}"
    for arguments, reason in (
        ((folder, looks, results, f"--render={folder / 'img1'}"), "which is read as the frames of A-01"),
        ((folder, looks, results, f"--render={folder}"), "which is read as the folder of A-01"),
        ((folder / "img1", looks, det, results, f"--render={folder / 'img1'}"), "which is read as SOURCE"),
        ((folder, looks, f"--results={folder / 'gt' / 'gt.txt'}"), "which is read as the ground truth of A-01"),
        ((folder, looks, f"--results={folder / 'det' / 'det.txt'}"), "which is read as the detections of A-01"),
        ((folder, looks, f"--results={folder / 'img1' / '000001.png'}"), "which is read as a frame"),
        ((folder / "img1", looks, det, f"--results={text}"), "which is read as --detections"),
        (
            (folder, f"--embeddings={tmp_path / 'looks.npy'}", f"--results={tmp_path / 'looks.npy'}"),
            "which is read as --embeddings",
        ),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert reason in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
