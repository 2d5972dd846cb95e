"""Markdown, files and reading back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import report_records as records

from netsuke.core.errors import NetsukeError, NewerRunError
from netsuke.report import html, markdown, read, write
from netsuke.report.record import parse
from netsuke.report.snippet import snippet


def _tables(text: str) -> list[list[str]]:
    """The rows of each table, as lines."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return [block for block in blocks if block[0].startswith("| ")]


def _cells(row: str) -> int:
    return row.replace("\\|", "").count("|") - 1


@pytest.mark.parametrize("name", records.ALL)
def test_markdown_tables_are_whole(name: str) -> None:
    tables = _tables(markdown(records.ALL[name]()))
    assert len(tables) >= 4
    for table in tables:
        assert {_cells(row) for row in table} == {_cells(table[0])}
        assert set(table[1]) <= set("|-: ")


def test_markdown_says_what_html_says() -> None:
    text = markdown(records.on_pi4())
    assert text.startswith(
        "# digits: pass\n\n**pass**: 61.2 kB, p95 2.31 ms estimated on pi4 (p95 124 µs measured here)"
    )
    assert (
        "| Latency, 95th percentile | ≤ 5 ms | 2.31 ms estimated for pi4 (range: 1.54 … 3.47 ms) | estimated for pi4 | none | pass |"
        in text
    )
    assert (
        "| Latency, median call | 8.4 ms estimated for pi4 (range: 5.6 … 12.6 ms) | 2.1 ms estimated for pi4 (range: 1.4 … 3.15 ms) | 4.00× faster estimated for pi4 | none |"
        in text
    )
    assert (
        "| layer2.0.conv1 | conv2d | 16×32 → 16×16 | w32 a32 → w8 a8 | 4,608 → 2,304 | 1.18 M → 590 k |"
        in text
    )
    assert "\n- settings: ratio = 0.3, epochs = 4, round\\_to = 8\n" in text


def test_markdown_of_nothing_is_unknown() -> None:
    text = markdown(records.bare())
    assert "| Size on disk | unknown | unknown | unknown | unknown | unknown |" in text
    assert "- evidence: unknown" in text
    assert "- took: unknown" in text


def test_markdown_escapes() -> None:
    text = markdown(records.hostile("<script>x</script>|a`b*c_d\n# e"))
    inside = text.split("```")[::2]
    assert not any("<script>" in part for part in inside)
    assert "&lt;script>x&lt;/script>\\|a\\`b\\*c\\_d \\# e" in text
    for table in _tables(text):
        assert len({_cells(row) for row in table}) == 1


def test_a_code_block_cannot_be_ended_from_inside() -> None:
    record = {**records.passed(), "command": "netsuke fit a.py\n```\n<script>"}
    assert "````sh\nnetsuke fit a.py\n```\n<script>\n" in markdown(record)


def test_write_makes_three_files_and_reads_back(tmp_path: Path) -> None:
    record = records.with_undone()
    paths = write(record, tmp_path / "run")
    assert [p.name for p in paths] == ["report.html", "report.md", "report.json"]
    assert read(paths[2]) == json.loads(json.dumps(record))
    assert paths[0].read_text(encoding="utf8") == html(record)
    assert paths[1].read_text(encoding="utf8") == markdown(record)
    assert len(list((tmp_path / "run").iterdir())) == 3


def test_a_record_that_cannot_be_shown_leaves_what_was_there(tmp_path: Path) -> None:
    write(records.passed(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(NetsukeError, match=r"report\.json: the record holds what JSON cannot"):
        write({**records.failed(), "extra": float("nan")}, tmp_path)
    with pytest.raises(NewerRunError, match="report.json: format 9"):
        write({**records.failed(), "format": 9}, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, not a folder")
    with pytest.raises(NetsukeError, match=r"run: the report cannot be written"):
        write(records.passed(), tmp_path / "run")


def test_a_file_that_cannot_be_replaced_leaves_no_drafts(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(NetsukeError, match="cannot be written"):
        write(records.passed(), tmp_path)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("{", "not valid JSON"),
        ("[]", "not a run record"),
        ("{}", "no format number"),
        ('{"format": 2}', "format 2 is newer"),
    ],
)
def test_read_names_the_file(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NetsukeError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_report_is_told(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(records.passed())[:900])
    with pytest.raises(NetsukeError, match="not valid JSON"):
        read(path)


def test_the_five_lines_run_the_artifact(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    wide = helper.make_tensor_value_info('it\'s "x"', onnx.TensorProto.FLOAT, ["n", 2, 3])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2, 3])
    node = helper.make_node("Exp", [wide.name], ["y"])
    model = helper.make_model(
        helper.make_graph([node], "g", [wide], [out]),
        opset_imports=[helper.make_opsetid("", 21)], ir_version=10,
    )  # fmt: skip
    onnx.save(model, tmp_path / "model.onnx")
    record = records.passed()
    record["final"]["artifact"]["inputs"] = [[wide.name, "float32", [2, 3]]]
    artifact = parse(record).final.artifact
    assert artifact is not None
    code = snippet(artifact)
    assert len(code.splitlines()) == 5
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["[[[1.", "1.", "1.]", "[1.", "1.", "1.]]]"]


def test_another_runtimes_artifact_is_not_given_a_snippet() -> None:
    record = records.passed()
    record["final"]["artifact"]["runtime"] = "null"
    assert "unknown: no final artifact that onnxruntime opens" in html(record)


def test_importing_loads_no_heavy_package() -> None:
    code = (
        "import sys, netsuke.report\n"
        "print([m for m in ('torch', 'jinja2', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("absent", ["jinja2", "matplotlib"])
def test_a_lean_install_is_told_what_to_install(absent: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); sys.modules[{absent!r}] = None\n"
        "import report_records, netsuke.report\n"
        "from netsuke.core.errors import NetsukeError\n"
        "try: netsuke.report.html(report_records.passed())\n"
        "except NetsukeError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f'report: {absent} is missing; pip install "netsuke[fit]"'
