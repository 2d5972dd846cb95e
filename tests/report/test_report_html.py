"""What the HTML says, that it says it alone, and that it cannot be made to say more."""

import copy
import re
from html.parser import HTMLParser

import pytest
import report_records as records

from netsuke.core.errors import NetsukeError, NewerRunError
from netsuke.report import html

VOID = {"meta", "link", "br", "img", "input", "hr"}
ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>`|$x_{1}$ {{ 7 * 7 }}"


class Page(HTMLParser):
    """The tags in order, the text without styles, and proof that every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {name: Page(html(make())) for name, make in records.ALL.items()}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pass", "Pass 61.2 kB, 111 µs here, −0.33 pt (95 %: −0.89 … +0.33 pt, 900 samples)"),
        ("fail", "Fail 61.2 kB, 111 µs here, −2.33 pt (95 %: −3.22 … −1.44 pt, 900 samples) lost 2.33 pt"),
        ("unknown", "Unknown 61.2 kB, 111 µs here, −0.68 pt (95 %: −2.08 … +0.72 pt, 143 samples) 0.68 pt lost"),
        ("pi4", "Pass 61.2 kB, p95 2.31 ms estimated on pi4 (p95 124 µs measured here), −0.33 pt"),
        ("bare", "Unknown size unknown, latency unknown, accuracy unknown nothing was judged"),
    ],
)  # fmt: skip
def test_verdict_comes_first(pages: dict[str, Page], name: str, says: str) -> None:
    assert says in pages[name].text[:400]


@pytest.mark.parametrize("name", records.ALL)
def test_stands_alone(pages: dict[str, Page], name: str) -> None:
    page, text = pages[name], html(records.ALL[name]())
    assert len(text.encode()) < 400_000
    assert "://" not in text
    assert not {"script", "iframe", "object", "embed", "img"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("href", "src"):
            address = attributes.get(key)
            assert (
                address is None or address.startswith("#") or (tag, address) == ("link", "data:,")
            )


@pytest.mark.parametrize("name", records.ALL)
def test_ids_are_unique_and_links_lead_somewhere(pages: dict[str, Page], name: str) -> None:
    ids = [a["id"] for _, a in pages[name].tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"] for _, a in pages[name].tags if (a.get("href") or "").startswith("#")}
    assert links <= {f"#{i}" for i in ids}


@pytest.mark.parametrize("name", records.ALL)
def test_same_record_same_page(name: str) -> None:
    assert html(records.ALL[name]()) == html(records.ALL[name]())


def test_before_and_after(pages: dict[str, Page]) -> None:
    text = pages["pass"].text
    assert "Size on disk 412 kB 61.2 kB 6.73× smaller 1 measured here" in text
    assert (
        "Accuracy 98.67 % 95 %: 97.92 … 99.42 % 98.34 % 95 %: 97.51 … 99.17 % −0.33 pt 95 %: −0.89 … +0.33 pt 900 measured here"
        in text
    )
    assert (
        "CPU time, median call 404 µs 95 %: 401 … 408 µs 109 µs 95 %: 108 … 110 µs 3.72× faster 95 %: 3.61× … 3.79× 400"
        in text
    )
    assert "Peak memory 12.4 MB 9.1 MB 1.36× smaller 3 measured here" in text
    assert "Predictions equal, simulated and executed 99.89 % 900 samples" in text


def test_limits(pages: dict[str, Page]) -> None:
    text = pages["fail"].text
    assert "≤ 100 kB 61.2 kB measured here 1 sample pass" in text
    assert "≥ −1.00 pt −2.33 pt 95 %: −3.22 … −1.44 pt measured here 900 samples fail" in text


def test_estimates_carry_the_word(pages: dict[str, Page]) -> None:
    text = pages["pi4"].text
    for figure in (
        "8.4 ms",
        "9.24 ms",
        "2.1 ms",
        "3.1 MB",
        "5.1 ms",
        "5.61 ms",
        "2.2 MB",
        "4.00× faster",
    ):
        for match in re.finditer(re.escape(figure), text):
            assert "estimated" in text[match.end() : match.end() + 40], text[
                match.start() - 60 : match.end() + 60
            ]
    assert "Latency, 95th percentile, estimated for pi4 (ms)" in text


def test_sources_are_not_mixed() -> None:
    record = records.on_pi4()
    final = record["final"]["evidence"]
    final[:] = [e for e in final if (e["what"], e["device"]) != ("latency_p50", "pi4")]
    text = Page(html(record)).text
    assert (
        "Latency, median call 8.4 ms estimated range: 5.6 … 12.6 ms unknown unknown none estimated for pi4"
        in text
    )


def test_steps(pages: dict[str, Page]) -> None:
    text = pages["undone"].text
    assert "1 prune.channels undone 38.4 s slower than what it replaced" in text
    assert "2 prune.channels kept a remedy for the step before 41.2 s" in text
    assert "3 distill.logits refused 10 ms the task has no training data for it" in text
    assert "MACs 40.6 M → 20.5 M (−49 %)" in text
    assert "ratio 0.45" in text
    assert "CPU time against the original 1.06× slower 95 %: 1.04× … 1.10×" in text


def test_a_proposal_left_is_told(pages: dict[str, Page]) -> None:
    text = pages["proposals"].text
    assert (
        "Proposal 1, from the original 1 quantize.static kept then left for another proposal"
        in text
    )
    assert "Proposal 2, from the original 2 prune.channels kept 41.2 s" in text
    assert "recipe size a call" in text
    assert "quantize.static 105 kB 190 µs" in text
    ranged = "prune.channels 30 % → quantize.static 70 kB (4.0×) – 0.5 pt (-0.2 … +2.0) 120 s"
    assert ranged in text


def test_layers(pages: dict[str, Page]) -> None:
    text = pages["pass"].text
    assert "Parameters 268,346 134,714" in text
    assert "Parameters held in 32 bit 8 bit" in text
    assert (
        "layer2.0.conv1 conv2d, resnet.py:31 16×32 → 16×16 w32 a32 → w8 a8 4,608 → 2,304 1.18 M → 590 k"
        in text
    )
    assert "layer1 output (resnet.py:44), its shortcut slices channels" in text
    assert "layer2.0 (resnet.py:58): Slice and Pad stay in float" in text


def test_how_to_reproduce(pages: dict[str, Page]) -> None:
    text = pages["pass"].text
    assert (
        "netsuke fit examples/digits.py --size 100KB --drop 1pt netsuke fit --replay PATH/TO/digits"
        in text
    )
    assert "model.onnx " + "9b2d4f60" * 8 in text
    assert "torch 2.13.0" in text


def test_missing_evidence_is_unknown(pages: dict[str, Page]) -> None:
    text = pages["bare"].text
    for title in ("Size on disk", "Accuracy", "Latency, median call", "Peak memory"):
        assert f"{title} unknown unknown unknown unknown unknown" in text
    assert "the runtime did not load it Evidence unknown" in text
    assert "Parameters 268,346 unknown" in text
    assert "hashes unknown" in text
    assert not re.search(r"(?<![\d.])0 (B|s|µs|pt)\b|nan|None", text)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), None])
def test_a_figure_that_is_no_number_is_unknown(broken: float | None) -> None:
    record = records.passed()
    for item in record["final"]["evidence"]:
        if item["what"] == "size":
            item["value"] = broken
    assert "size unknown, 111 µs here" in Page(html(record)).text


def test_a_metric_in_its_own_unit() -> None:
    record = records.passed()
    record["metric"] = {"name": "mae", "unit": "", "higher": False}
    for item in (*record["baseline"]["evidence"], *record["final"]["evidence"]):
        if item["what"] == "quality":
            item["unit"] = ""
    text = Page(html(record)).text
    assert "0.33 % worse (95 %: 0.89 % worse … 0.33 % better, 900 samples)" in text
    assert "at most 1.00 % worse" in text
    assert "mae against the original (% better)" in text


def test_nothing_a_user_wrote_is_markup() -> None:
    text = html(records.hostile(ATTACK))
    page = Page(text)
    assert "<script" not in text
    assert "<img" not in text
    assert page.text.count("{{ 7 * 7 }}") == page.text.count("alert(1)")
    assert page.text.count("<script>alert(1)</script>") > 20


def test_policy_forbids_scripts_and_the_network() -> None:
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in html(
        records.passed()
    )


def test_many_layers_stay_small() -> None:
    record = records.passed()
    layer = record["baseline"]["artifact"]["layers"][0]
    many = [
        {**layer, "name": f"encoder.block.{i}.mlp.dense", "macs": 1000 + i} for i in range(2000)
    ]
    for stage in ("baseline", "final"):
        record[stage]["artifact"]["layers"] = copy.deepcopy(many)
    text = html(record)
    assert len(text.encode()) < 400_000
    assert "1600 smaller layers are not listed" in text
    assert "encoder.block.1999.mlp.dense" in text


def test_a_newer_record_is_refused_by_name() -> None:
    with pytest.raises(
        NewerRunError, match=r"^runs/a/report\.json: format 2 is newer .* upgrade netsuke$"
    ):
        html({**records.passed(), "format": 2}, "runs/a/report.json")


@pytest.mark.parametrize("field", ["verdict", "steps", "baseline", "device", "metric"])
def test_a_broken_record_names_file_and_field(field: str) -> None:
    record = records.passed()
    del record[field]
    with pytest.raises(NetsukeError, match=f"^report.json: no '{field}'; not a run record$"):
        html(record)
    with pytest.raises(
        NetsukeError, match=rf"^report.json: field '{field}' is not as it should be \(.*\)$"
    ):
        html({**records.passed(), field: 5})


def test_a_refused_latency_says_why() -> None:
    record = records.passed()
    why = "wall-clock latency refused: the machine is too busy (3 of 400 rounds undisturbed)"
    final = [e for e in record["final"]["evidence"] if not e["what"].startswith("latency")]
    record["final"]["evidence"] = [
        {**e, "note": why} if e["what"] == "cpu_p50" else e for e in final
    ]
    text = Page(html(record)).text
    assert "61.2 kB, 109 µs here, −0.33 pt" in text, "CPU time stands in for the refused wall clock"
    assert why in text


def test_a_step_owes_its_figures() -> None:
    record = records.passed()
    step = record["steps"][0]
    step["evidence"] = [e for e in step["evidence"] if e["what"] not in ("drop", "latency_p50")]
    text = Page(html(record)).text
    assert "Quality against the original unknown Latency, median call unknown" in text
