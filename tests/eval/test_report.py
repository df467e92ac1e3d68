"""Promises of the report of a comparison: every form says the same, and nothing untrusted gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from eval.report import Scale, ab_page, print_page, write_page
from eval.report.plots import CostPoint, ForestRow, forest, scatter
from eval.runs import ABResult, Arm, Comparison, Manifest, Summary
from eval.stats import compare_differences, holm, verdict
from retrieval.errors import UsageError

HOSTILE = "<script>alert(1)</script> | `x` **y** [z](javascript:1)\n\x1b[31m\u202e\"'>&amp;"
COST = {"cached_tokens": 5.0, "requests": 3.0, "cache_hits": 0.0, "seconds": 1.25, "degraded": 0.02}


def arm(name, ndcg, tokens, metric="ndcg@10", **settings):
    manifest = Manifest(name=name, task="rerank", protocol={"users": 60}, data="d", settings=settings, model="m")
    metrics = {metric: ndcg, "mrr": ndcg / 2}
    return Arm(manifest=manifest, summary=Summary(users=60, cases=60, metrics=metrics, tokens=tokens, **COST))


def result_of(names=("a", "b", "c"), shift=0.1, metric="ndcg@10", slice_="truth: unseen"):
    """A comparison of arms that are `shift` better for each user, give or take."""
    rng = np.random.default_rng(0)
    tested = [(name, m) for name in names[1:] for m in (metric, "mrr")]
    found = [
        compare_differences(shift * n + 0.2 * (shift != 0) * rng.standard_normal(60), rng)
        for n in range(1, len(tested) + 1)
    ]
    comparisons = [
        Comparison(
            arm=name, metric=m, slice="all", difference=d, adjusted=p,
            verdict=verdict(d, m, arms=(names[0], name), adjusted=p),
        )
        for (name, m), d, p in zip(tested, found, holm([d.p_value for d in found]), strict=True)
    ]  # fmt: skip
    described = comparisons[0].model_copy(update={"slice": slice_, "adjusted": None})
    arms = [arm(name, 0.3 + n / 10, 100.0 * (n + 1), metric, strategy=f"s{n}", same=1) for n, name in enumerate(names)]
    return ABResult(arms=tuple(arms), comparisons=(*comparisons, described))


def degenerate():
    """Nobody differs."""
    return result_of(shift=0.0)


@pytest.fixture
def written(tmp_path):
    def write(result):
        write_page(ab_page(result), tmp_path)
        html_, md, json_ = ((tmp_path / f"report.{kind}").read_text("utf-8") for kind in ("html", "md", "json"))
        return html_, md, json_

    return write


def terminal(result):
    out = io.StringIO()
    print_page(ab_page(result), Console(file=out, highlight=False, width=300))
    return out.getvalue()


class Page(HTMLParser):
    """Tags with their attributes, and the text by tag."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self._open = [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)


def drawing(svg):
    return ET.fromstring(svg)  # noqa: S314 - it is our own


def drawings(page):
    return [drawing(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_all_forms_say_the_same_sentence(written):
    """The verdict stands first in the page, the Markdown and the terminal, and in the JSON with all that it is of."""
    result = result_of()
    page, md, json_ = written(result)
    assert "".join(Page(page).text["h1"]) == result.verdict
    assert md.startswith(f"**{result.verdict}**\n")
    assert terminal(result).startswith(result.verdict + "\n")
    assert ABResult.model_validate_json(json_) == result
    assert ABResult.model_validate_json(json_).verdict == result.verdict


def test_what_makes_a_comparison_doubtful_is_said(written):
    """Degraded answers stand in the verdict, and seconds of replies that were kept are no measure of a model."""
    result = result_of()
    assert "2.0% of a degraded, 2.0% of b degraded" in result.verdict
    page, md, _ = written(result)
    assert "Seconds are no measure" not in page + md
    kept = result.arms[1].model_copy(update={"summary": result.arms[1].summary.model_copy(update={"cache_hits": 0.5})})
    replayed = result.model_copy(update={"arms": (result.arms[0], kept, result.arms[2])})
    page, md, _ = written(replayed)
    for text in (page, md, terminal(replayed)):
        assert "Seconds are no measure of b: replies came from the response cache." in text


def test_quality_is_drawn_against_what_it_costs(written):
    """A dot an arm, at its seconds and at its tokens; no plot of tokens where none were used."""
    result = result_of()
    page, _, _ = written(result)
    assert [t for t in Page(page).text["h2"] if t.startswith("Quality")] == [
        "Quality against tokens",
        "Quality against seconds",
    ]
    free = [a.model_copy(update={"summary": a.summary.model_copy(update={"tokens": 0.0})}) for a in result.arms]
    page, _, _ = written(result.model_copy(update={"arms": tuple(free)}))
    assert [t for t in Page(page).text["h2"] if t.startswith("Quality")] == ["Quality against seconds"]


def test_what_knows_nobodys_taste_stands_below_the_arms(written):
    """Chance and its like have a row in every form, with what of the metrics is known of them and no costs."""
    result = result_of()
    first = result.arms[0]
    metric = result.comparisons[0].metric
    summary = first.summary.model_copy(update={"references": {"chance": {metric: 0.227}}})
    beside = first.model_copy(update={"summary": summary})
    result = result.model_copy(update={"arms": (beside, *result.arms[1:])})
    _, md, _ = written(result)
    (row,) = (line.strip("| ").split(" | ") for line in md.splitlines() if line.startswith("| chance |"))
    assert row[3] == ".227"
    assert set(row[4:]) == {"—"}
    assert "chance" in terminal(result)


def test_every_comparison_and_arm_is_in_every_form(written):
    """Each row has its arm, metric, slice, and the users whose scores differ; what differs between arms is named."""
    result = result_of()
    page, md, _ = written(result)
    rows = [re.findall(r"<t[hd].*?>(.*?)(?:<svg.*)?</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.S)]
    in_markdown = [line.strip("| ").split(" | ") for line in md.splitlines() if line.startswith("|")]
    in_terminal = [line.split() for line in terminal(result).splitlines()]
    for c in result.comparisons:
        key = [c.arm, c.metric, c.slice]
        assert [row[9:11] for row in rows if row[:3] == key] == [["60", "60"]]
        assert [row[9:11] for row in in_markdown if row[:3] == key] == [["60", "60"]]
        assert [row for row in in_terminal if row[: len(" ".join(key).split())] == " ".join(key).split()]
    assert [row[:3] for row in in_markdown if "strategy" in row[2]] == [
        [name, "m", f"strategy = s{n}"] for n, name in enumerate("abc")
    ]
    assert "same = 1" not in page


def test_hostile_names_stay_text(written):
    """Markup in names of arms, metrics, slices and settings is shown, never obeyed, in page, plot, table, terminal."""
    page, md, _ = written(result_of((HOSTILE, HOSTILE + "2", "c"), metric=HOSTILE, slice_=HOSTILE))
    calm, calm_md, _ = written(result_of())
    assert [tag for tag, _ in Page(page).tags] == [tag for tag, _ in Page(calm).tags]
    assert {k for _, attrs in Page(page).tags for k in attrs} == {k for _, attrs in Page(calm).tags for k in attrs}
    assert drawings(page)
    outside = re.sub(r"(?<!\\)`[^`]*(?<!\\)`", "", md.replace("![Paired differences](report.svg)", ""))
    bars = [[len(re.findall(r"(?<!\\)\|", line)) for line in m.splitlines()] for m in (outside, calm_md)]
    assert bars[0] == bars[1]
    assert not re.search(r"(?<!\\)<(?!br>| )|(?<!\\)\]\(|(?<!\\)\*\*y|(?<!\\)`x", outside)
    shown = terminal(result_of((HOSTILE, HOSTILE + "2", "c"), metric=HOSTILE, slice_=HOSTILE))
    for text in (page, md, shown):
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)


def test_the_page_asks_nothing_of_the_network(written):
    """No address of anything outside, and a policy that forbids what is not the page's own script and style."""
    page, _, _ = written(result_of())
    parsed = Page(page)
    assert not [attrs for _, attrs in parsed.tags if {"src", "href", "action", "style", "onclick"} & set(attrs)]
    assert not re.search(r"https?:|url\(|@import|fetch\(", page)
    policy = next(a["content"] for t, a in parsed.tags if t == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_tables_are_sorted_by_buttons(written):
    """Every column has a button in its head, a state that screen readers know, and a value in each row."""
    parsed = Page(written(result_of())[0])
    heads = [attrs for tag, attrs in parsed.tags if tag == "th" and attrs.get("scope") == "col"]
    assert heads
    assert {attrs.get("aria-sort") for attrs in heads} == {"none"}
    assert sum(tag == "button" for tag, _ in parsed.tags) == len(heads)
    assert all("data-value" in attrs for tag, attrs in parsed.tags if tag == "td" or attrs.get("scope") == "row")


def test_what_cannot_be_told_is_said(written):
    """Where nobody differs there is no p, interval or dz: words stand in their place, never NaN or None."""
    result = degenerate()
    page, md, _ = written(result)
    rows = [line.strip("| ").split(" | ") for line in md.splitlines() if line.startswith("| b | ndcg")]
    assert [row[3:8] for row in rows] == [[".000", "cannot tell", "cannot tell", "—", "—"]] * 2
    assert page.count("<td") > 0
    for text in (
        html.unescape(re.sub(r"<(style|script|pre).*?</\1>|null", "", page, flags=re.S)),
        md,
        terminal(result),
    ):
        assert "cannot tell" in text
        assert not re.search(r"\b(nan|none|inf)\b(?!\"[ >])", text.replace("'none'", ""), re.IGNORECASE)


def test_a_report_is_the_same_every_time(written):
    """Nothing of time, place or chance gets into it."""
    assert written(result_of()) == written(result_of())


def test_the_zero_line_lies_where_zero_is():
    """On the line through the points of two known differences."""
    effects = [ForestRow("x", "", mean, mean - 0.05, mean + 0.02, "inconclusive") for mean in (0.1, -0.3)]
    svg = drawing(forest(effects, "two", ("a", "b")))
    one, two = (float(c.get("cx").rstrip("%")) for c in svg.iter("circle"))
    (zero,) = (line for line in svg.iter("line") if line.get("class") == "zero")
    assert float(zero.get("x1").rstrip("%")) == pytest.approx(one - 0.1 * (two - one) / (-0.3 - 0.1), abs=0.01)
    assert zero.get("x1") == zero.get("x2")
    ends = [
        [float(w.get(x).rstrip("%")) for x in ("x1", "x2")] for w in svg.iter("line") if w.get("class") == "whisker"
    ]
    assert [low < point < high for (low, high), point in zip(ends, (one, two), strict=True)] == [True, True]


def test_the_first_plot_is_also_a_picture_of_its_own(tmp_path):
    """It has the page's drawing, its own style and a size, and the Markdown shows it."""
    write_page(ab_page(result_of()), tmp_path)
    svg = drawing((tmp_path / "report.svg").read_text("utf-8"))
    points = [c.attrib for c in svg.iter("{http://www.w3.org/2000/svg}circle")]
    assert points == [c.attrib for c in drawing(ab_page(result_of()).plots[0].drawing).iter("circle")]
    assert "prefers-color-scheme: dark" in svg.findtext("{http://www.w3.org/2000/svg}style")
    assert svg.get("viewBox") == f"0 0 {svg.get('width')} {svg.get('height')}"
    assert "![Paired differences](report.svg)" in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.parametrize("value", [0.0, 1e-9, -3.0, 250_000.0])
def test_plots_bear_any_scale(value):
    """No differences, tiny ones and huge ones give numbers that lie within the plot."""
    plots = [
        forest([ForestRow("x", "", value, None, None, "inconclusive")], "one", ("a", "b")),
        scatter([CostPoint("x", abs(value), value), CostPoint("y", 0.0, value)], "one", "tokens", "ndcg"),
    ]
    for plot in map(drawing, plots):
        places = [n.get(k) for n in plot.iter() for k in ("x", "x1", "x2", "cx") if n.get(k)]
        assert all(0 <= float(place.rstrip("%")) <= 100 for place in places)


def test_labels_of_like_arms_do_not_lie_on_each_other():
    """Arms of the same quality have labels a line apart, all within the plot."""
    svg = drawing(scatter([CostPoint(str(n), 1.0, 0.5) for n in range(20)], "many", "tokens", "ndcg"))
    heights = sorted(float(t.get("y")) for t in svg.iter("text") if t.get("class") == "label")
    assert min(np.diff(heights)) >= 15
    assert heights[-1] < float(svg.get("height"))
    assert heights[0] > 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """With what to do about it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file") as caught:
        write_page(ab_page(result_of()), tmp_path / "file")
    assert "--out" in caught.value.hint


def test_the_numbers_of_an_axis_are_round_and_within():
    """Three to six, none outside; on a logarithmic axis the powers of ten."""
    assert Scale(0, 1).ticks(4) == [(0, "0"), (0.5, ".5"), (1, "1.0")]
    for low, high in ((-1, 1), (0, 0.037), (-3.3, 3.3), (0, 0.001)):
        values = [value for value, _ in Scale(low, high).ticks()]
        assert 3 <= len(values) <= 6
        assert low <= min(values)
        assert max(values) <= high
    assert [text for _, text in Scale.decades([0.2, 3_000]).ticks()] == [".1", "1", "10", "100", "1,000", "10,000"]
