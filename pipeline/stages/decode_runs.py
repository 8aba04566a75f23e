"""A session laid ready to decode, and what is decoded of one run.

What a run was given decides on what is fitted beside it: decoders and read-outs of a run that was given a few
trials see these few alone (`pipeline.stages.given_trials`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.decode_forecasts import ForecastPlan, session_forecasts
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stages.trained_runs import FAILURES
from nwb_latents.schemas.events import DecoderEvent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.lag_scan import LagScan
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import DecodedSignal, SessionDecoder
    from nwb_latents.pipeline.stages.decode_forecasts import SessionForecasts
    from nwb_latents.pipeline.stages.given_trials import Given
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.decoding import DecodeSettings, SignalSource
    from nwb_latents.schemas.measurement import Measurement

Work = StageWork["DecodeSettings", "Measurement"]


@dataclass(frozen=True)
class _Signal:
    """Rates of the test trials of one session, Hz, from bin `first_bin` of the window on."""

    rates: NDArray[np.float32]
    source: SignalSource
    run: str | None = None
    first_bin: int = 0

    def decoded(self, decoder: SessionDecoder) -> DecodedSignal:
        return decoder.decode(self.rates, source=self.source, run=self.run, first_bin=self.first_bin)

    def scanned(self, scan: LagScan) -> list[Measurement]:
        return scan.decode(self.rates, source=self.source, run=self.run, first_bin=self.first_bin)


@dataclass(frozen=True)
class LaidReady:
    """A session with all that is fitted on its training trials."""

    session: Session
    decoders: list[SessionDecoder]
    rates: list[DecodedSignal]
    scans: list[LagScan]
    forecasts: SessionForecasts | None
    beside: list[DecodedSignal]
    given: Given | None = None

    @property
    def test(self) -> Session:
        """Its test trials."""
        return self.session.select(self.decoders[0].test)


def laid_ready(
    work: Work, plan: ForecastPlan, session: Session, *, wanted: bool, given: Given | None = None
) -> LaidReady:
    """Fit everything that is fitted on the training trials of a session.

    Parameters
    ----------
    work
        What is decoded.
    plan
        What is forecast beside runs.
    session
        Its trials.
    wanted
        Whether there is a run that could forecast.
    given
        A few trials that a run was given, which are the training trials of the session; None: all are.

    Raises
    ------
    PipelineError
        If no decoder could be fitted.
    """
    settings = work.settings if given is None else given.fewer_folds(work.settings)
    decoders, rates, scans = _fitted(work, settings, session)
    forecasts = None
    if wanted and "forecast" in work.settings.sources:
        forecasts = session_forecasts(
            session,
            settings,
            plan,
            trained=work.trained,
            failures=work.failures,
            report=work.report,
            given=given,
        )
    beside = [] if forecasts is None else forecasts.of_baselines()
    return LaidReady(session, decoders, rates, scans, forecasts, beside, given)


def laid_for(
    work: Work, plan: ForecastPlan, whole: LaidReady, run: str, few: dict[tuple[int, ...], LaidReady]
) -> LaidReady:
    """Return the session as a run was given it; what is laid ready of a few trials is kept in `few`."""
    from nwb_latents.pipeline.stages.given_trials import given_to  # noqa: PLC0415

    given = given_to(work.trained[run], whole.session)
    if given is None:
        return whole
    if given.trials not in few:
        averaged = ForecastPlan(members=plan.members)
        few[given.trials] = laid_ready(work, averaged, given.session, wanted=True, given=given)
    return few[given.trials]


def decoded_run(
    work: Work, laid: LaidReady, run: str
) -> tuple[list[tuple[DecodedSignal, ...]], list[Measurement]]:
    """Return what is decoded of a run by each decoder, and the scores at every lag."""
    signals = _signals_of(work, laid.test, run=run)
    made = [tuple(signal.decoded(decoder) for signal in signals) for decoder in laid.decoders]
    if laid.forecasts is not None:
        # Forecasts are read out in their own way, whichever decoders there are.
        made[0] = (*made[0], *laid.forecasts.of_run(run, work.trained[run]))
    at_lags = [score for scan in laid.scans for signal in signals for score in signal.scanned(scan)]
    told = laid.given
    if told is None:
        return made, at_lags
    said = [tuple(replace(one, score=told.told(one.score)) for one in signals) for signals in made]
    return said, [told.told(score) for score in at_lags]


def _fitted(
    work: Work, settings: DecodeSettings, session: Session
) -> tuple[list[SessionDecoder], list[DecodedSignal], list[LagScan]]:
    """Fit every decoder, and decode the recorded rates; one that fails does not stop the others.

    Raises
    ------
    PipelineError
        If none is left; that of the last.
    """
    from nwb_latents.pipeline.evaluation.decoding.lag_scan import scan_lags  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.decoding.session_decoder import fit_session_decoder  # noqa: PLC0415

    decoders: list[SessionDecoder] = []
    rates: list[DecodedSignal] = []
    scans: list[LagScan] = []
    for name in settings.decoders:
        try:
            decoder = fit_session_decoder(session, settings, decoder=name)
            decoded = recorded(session, decoder.test).decoded(decoder)
            scan = [scan_lags(session, settings, decoder=name)] if settings.lag_scan_ms else []
        except FAILURES as error:
            if name == settings.decoders[-1] and not decoders:
                raise
            event = DecoderEvent(decoder=name, session=session.name)
            work.failures.add(error, event=event, name=f"decoder {name} on {session.name}")
            continue
        decoders.append(decoder)
        rates.append(decoded)
        scans += scan
    return decoders, rates, scans


def recorded(session: Session, test: NDArray[np.int64]) -> _Signal:
    """Return the recorded rates of the test trials."""
    return _Signal(session.trials["rates"].values[test], "rates")


def _signals_of(work: Work, test: Session, *, run: str) -> list[_Signal]:
    model, settings, signals = work.trained[run], work.settings, []
    if "reconstruction" in work.settings.sources:
        signals.append(_Signal(model.reconstruct(test), "reconstruction", run))
    if "forecast" in work.settings.sources:
        seen, ahead = settings.forecast.seen_bins, settings.forecast.bins
        foreseen = model.forecast(test, seen_bins=seen, n_bins=ahead)
        signals.append(_Signal(foreseen, "forecast_decoded", run, seen))
    return signals
