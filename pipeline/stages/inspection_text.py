"""An inspection as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.read_text import choice_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.schemas.inspection import ColumnFacts, Inspection, SeriesFacts, UnitFacts, WouldBe

MOST_CONDITIONS = 16


def heading(inspection: Inspection) -> str:
    """Return what file it is.

    Examples
    --------
    >>> from nwb_latents.schemas.inspection import Inspection
    >>> heading(Inspection(session="sub-A_ses-1", source="a.nwb", size=2_000_000))
    'sub-A_ses-1  a.nwb, 2.0 MB'
    """
    of = f" in {inspection.dandiset}@{inspection.dandiset_version}" if inspection.dandiset else ""
    return f"{inspection.session}  {inspection.source}{of}, {inspection.size / 1e6:.1f} MB"


def fact_lines(inspection: Inspection) -> list[str]:
    """Return what the file says of itself."""
    return [f"  {name}: {text}" for name, text in inspection.facts.items()]


def series_row(series: SeriesFacts) -> list[str]:
    """Return path, shape, rate, unit, range, gaps of a series."""
    span = "" if series.start_s is None else f" from {series.start_s:.5g} to {series.stop_s:.5g} s"
    rate = "" if series.rate_hz is None else f"{series.rate_hz:.6g} Hz"
    factor = "" if series.conversion in (None, 1.0) else f" × {series.conversion:g}"
    values = "not read" if series.low is None else f"{series.low:.4g} … {series.high:.4g}"
    if series.n_missing:
        values += f", {series.n_missing} missing"
    gaps = "" if series.n_gaps is None else str(series.n_gaps)
    if series.longest_gap_s:
        gaps += f", up to {series.longest_gap_s:.3g} s"
    return [
        series.path,
        " × ".join(map(str, series.shape)),
        f"{rate}{span}".strip() or "not read",
        f"{series.unit or 'none'}{factor}",
        series.problem or values,
        gaps,
    ]


def column_row(column: ColumnFacts) -> list[str]:
    """Return name, type, missing values and examples of a column."""
    kind = f"{column.kind}, ragged" if column.is_ragged else column.kind
    if len(column.shape) > 1:
        kind += f" ({' × '.join(map(str, column.shape))})"
    if column.counts:
        shown = ", ".join(f"{value} ({n})" for value, n in column.counts.items())
    else:
        shown = ", ".join(column.examples)
    missing = "not read" if column.n_missing is None else str(column.n_missing)
    return [column.name, kind, missing if not column.problem else "", column.problem or shown]


def unit_lines(units: UnitFacts) -> list[str]:
    """Return how many units there are, how fast they fire, where they are and when they were observed."""
    if units.problem:
        return [f"  {units.problem}"]
    lines = [f"  {units.n_units} units, {units.n_spikes} spikes"]
    if units.first_s is not None:
        lines[0] += f" from {units.first_s:.5g} to {units.last_s:.5g} s"
    if units.least_hz is not None:
        lines[0] += f"; rates {units.least_hz:.3g} to {units.most_hz:.3g}, median {units.median_hz:.3g} Hz"
    if units.areas:
        lines.append(f"  areas: {_counts(units.areas)}")
    if units.n_observed is not None:
        lines.append(f"  observed: {units.observed_s:.1f} s in {_some(units.n_observed, 'interval')}")
    return lines


def invalid_lines(inspection: Inspection) -> list[str]:
    """Return the invalid times, if there are any."""
    if not inspection.invalid_times:
        return []
    seconds = sum(stop - start for start, stop in inspection.invalid_times)
    return [f"  invalid times: {_some(len(inspection.invalid_times), 'interval')}, {seconds:.1f} s"]


def ingest_lines(inspection: Inspection) -> list[str]:
    """Return what an ingest would do with the file."""
    lines = choice_lines(inspection.choices)
    if inspection.would_be is not None:
        lines += _would_be_lines(inspection.would_be)
    if inspection.refusal:
        lines.append(f"  REFUSED: {inspection.refusal}")
    return lines


def doubt_lines(inspection: Inspection) -> list[str]:
    """Return what is doubtful."""
    return [f"  {text}" for text in inspection.doubtful] or ["  nothing"]


def table_row(inspection: Inspection) -> list[str]:
    """Return file, layout, trials, units, R², doubts and whether ingest takes it, of one of several files."""
    would = inspection.would_be
    chosen = {choice.what: choice.value for choice in inspection.choices}
    layout = chosen.get("layout", "")
    if would is None:
        units = str(inspection.units.n_units) if inspection.units.n_units else ""
        return [inspection.source, layout, "", units, "", str(len(inspection.doubtful)), "refused"]
    r2 = "" if would.decodability is None else f"{would.decodability:.2f}"
    trials = f"{would.n_trials} of {would.n_trials + sum(would.dropped.trials.values())}"
    units = f"{would.n_units} of {would.n_units + sum(would.dropped.units.values())}"
    return [inspection.source, layout, trials, units, r2, str(len(inspection.doubtful)), "accepted"]


def _would_be_lines(would: WouldBe) -> list[str]:
    unit = would.kinematics_unit
    lines = [
        (
            f"  store: {would.n_trials} trials of {would.n_bins} bins of {would.bin_size_s * 1e3:g} ms, "
            f"{would.n_units} units, axes {', '.join(would.axes)} in {unit}, task {would.task}"
        ),
        f"  trials left out: {_counts(would.dropped.trials) or 'none'}",
        f"  units left out: {_counts(would.dropped.units) or 'none'}",
    ]
    if would.onset_quality:
        lines.append(f"  onsets: {_counts(would.onset_quality)}")
    if would.conditions:
        shown = dict(list(would.conditions.items())[:MOST_CONDITIONS])
        more = len(would.conditions) - len(shown)
        lines.append(
            f"  conditions: {len(would.conditions)}: {_counts(shown)}" + (f" and {more} more" if more else "")
        )
    measured = []
    if would.reaction_time_s is not None:
        measured.append(f"reaction time {would.reaction_time_s * 1e3:.0f} ms")
    if would.peak_speed is not None:
        measured.append(f"peak speed {would.peak_speed:.3g} {unit}/s")
    if would.decodability is not None:
        measured.append(f"R² of velocity from the rates {would.decodability:.2f}")
    if measured:
        lines.append(f"  medians: {', '.join(measured)}")
    if would.flags:
        lines.append(f"  flags: {', '.join(would.flags)}")
    return lines


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _some(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def indented(text: str, *, by: int = 2) -> Iterable[str]:
    """Return the lines of a text, indented.

    Examples
    --------
    >>> list(indented("a: 1"))
    ['  a: 1']
    """
    return [f"{'':{by}}{line}" for line in text.splitlines()]
