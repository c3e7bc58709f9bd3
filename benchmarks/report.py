"""The figures: what, against whom, result."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.rounds import Round

OUTSIDE_GOAL = 0.2


@dataclass(frozen=True, slots=True)
class Stage:
    """Medians over the rounds. `outside` is the share of the stage that its bare work does not take."""

    stage: str
    seconds: float
    bare: str
    bare_seconds: float
    outside: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the rounds; `ratio` is that of the rounds' ratios, and `goal` where it should be."""

    what: str
    against: str
    unit: str
    ours: float
    theirs: float
    formula: str
    ratio: float
    goal: float
    reached: bool


BARE = {
    "video_manifest": "os.walk and stat",
    "clips": "synced copy, sha256, the engine's index",
    "frames": "the engine, images left in memory",
    "embeddings": "onnxruntime",
    "vector_index": "qdrant-edge",
    "chain": "all of these",
}


def as_result(rounds: list[Round], footage: str, cores: str) -> dict[str, Any]:
    """Everything that was measured, for JSON."""
    return {
        "machine": f"{cores}, {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "footage": footage,
        "rounds": len(rounds),
        "empty_step_s": median(r.empty_step_s for r in rounds),
        "stages": [asdict(stage) for stage in _stages(rounds)],
        "comparisons": [asdict(comparison) for comparison in _comparisons(rounds)],
    }


def as_text(result: dict[str, Any]) -> str:
    """The same, for people."""
    lines = [f"{result['footage']}; {result['machine']}; medians of {result['rounds']} rounds", ""]
    lines.append(f"{'stage':15} {'seconds':>8}  {'bare':>8}  {'outside':>7}  bare work")
    for s in result["stages"]:
        lines.append(f"{s['stage']:15} {s['seconds']:8.2f}  {s['bare_seconds']:8.2f}  {s['outside']:7.0%}  {s['bare']}")
    lines.append(
        f"{'empty step':15} {result['empty_step_s']:8.2f}  a Dagster step that does nothing: part of each stage"
    )
    lines += [f"(outside decode, model and index: to reach at most {OUTSIDE_GOAL:.0%})", ""]
    for c in result["comparisons"]:
        verdict = "reached" if c["reached"] else "NOT reached"
        bound = "at least" if c["formula"] == "theirs / ours" else "at most"
        lines.append(
            f"{c['what']} against {c['against']}: {c['ours']:.2f} and {c['theirs']:.2f} {c['unit']}, "
            f"{c['formula']} = {c['ratio']:.2f} (to reach {bound} {c['goal']:.2f}: {verdict})"
        )
    return "\n".join(lines)


def _stages(rounds: list[Round]) -> list[Stage]:
    rows = [_stage(name, [(r.stage_s[name], r.bare_s[name]) for r in rounds]) for name in rounds[0].stage_s]
    return [*rows, _stage("chain", [(sum(r.stage_s.values()), sum(r.bare_s.values())) for r in rounds])]


def _stage(name: str, seconds: list[tuple[float, float]]) -> Stage:
    return Stage(
        stage=name,
        seconds=median(stage for stage, _ in seconds),
        bare=BARE[name],
        bare_seconds=median(bare for _, bare in seconds),
        outside=median((stage - bare) / stage for stage, bare in seconds),
    )


def _comparisons(rounds: list[Round]) -> list[Comparison]:
    ffmpeg = [r.ffmpeg_cpu_s for r in rounds]
    fps = "ffmpeg -threads 1 -vf fps=1 -q:v 2"
    return [
        _cpu("the frames stage, whole", fps, [r.stage_cpu_s for r in rounds], ffmpeg),
        _cpu("video-assets frames extract, one process a clip", fps, [r.extract_cpu_s for r in rounds], ffmpeg),
        _wall("the embeddings stage", "bare onnxruntime", *_of_stage("embeddings", rounds), 1.10),
        _wall("the vector_index stage", "bare qdrant-edge", *_of_stage("vector_index", rounds), 1.25),
        _wall(
            f"the vector_index stage, {rounds[0].large.points:,} points",
            "bare qdrant-edge",
            [r.large.stage_s for r in rounds],
            [r.large.bare_s for r in rounds],
            1.25,
        ),
    ]


def _of_stage(stage: str, rounds: list[Round]) -> tuple[list[float], list[float]]:
    return [r.stage_s[stage] for r in rounds], [r.bare_s[stage] for r in rounds]


def _cpu(what: str, against: str, ours: list[float], theirs: list[float]) -> Comparison:
    ratio = median(their / our for our, their in zip(ours, theirs, strict=True))
    formula = "theirs / ours"
    return Comparison(what, against, "s of CPU", median(ours), median(theirs), formula, ratio, 1.0, ratio >= 1.0)


def _wall(what: str, against: str, ours: list[float], theirs: list[float], goal: float) -> Comparison:
    ratio = median(our / their for our, their in zip(ours, theirs, strict=True))
    return Comparison(what, against, "s", median(ours), median(theirs), "ours / theirs", ratio, goal, ratio <= goal)
