"""Faults of decoding, metrics and forecasts."""

R2 = "pipeline/evaluation/metrics/r2.py"
SPIKES = "pipeline/evaluation/metrics/spike_scores.py"
RESAMPLE = "pipeline/evaluation/metrics/resampling.py"
VELOCITY = "pipeline/evaluation/decoding/velocity.py"
RIDGE = "pipeline/evaluation/decoding/ridge.py"
SAMPLES = "pipeline/evaluation/decoding/ridge_samples.py"
HISTORY = "pipeline/evaluation/decoding/history.py"
SCAN = "pipeline/evaluation/decoding/lag_scan.py"
KSTEP = "pipeline/evaluation/metrics/kstep.py"

FAULTS = (
    (R2, "return float(np.mean(_per_output(truth, guess, kept)))", "return float(np.max(_per_output(truth, guess, kept)))",
     "the R² of the best axis is given for their mean"),
    (R2, "    axes = tuple(range(truth.ndim - 1))\n    squared_error", "    axes = (truth.ndim - 2,)\n    squared_error",
     "the R² is taken trial by trial"),
    (R2, "number = np.maximum(kept.sum(axis=axes, keepdims=True), 1)",
     "number = np.maximum(np.ones_like(kept).sum(axis=axes, keepdims=True), 1)", "the mean counts what is masked"),
    (R2, "around = (1,) if definition == \"r2_trialmean\" else (0, 1)", "around = (0, 1)",
     "r2_trialmean of resamples is around the mean of all trials"),
    (SPIKES, "expected - xlogy(counts, expected) + gammaln(counts + 1.0)", "expected - xlogy(counts, expected)",
     "the likelihood lacks its constant"),
    (SPIKES, "total * np.log(2.0)", "total * np.log(np.e)", "bits per spike are nats"),
    (SPIKES, "LEAST_RATE = 1e-9", "LEAST_RATE = 1e-3", "rates of zero cost less"),
    (SPIKES, "spikes, bins = weights @ self.spikes, weights @ self.bins", "spikes, bins = weights @ self.spikes, weights * 0 + self.bins.sum(0)",
     "the null of a resample is of all bins"),
    (RESAMPLE, "return Interval(value, float(low) - bias, float(high) - bias, level, bias, len(defined), n_undefined)",
     "return Interval(value, float(low), float(high), level, bias, len(defined), n_undefined)",
     "intervals are not centred on the metric"),
    (RESAMPLE, "[(1 - level) / 2, 0.5, (1 + level) / 2]", "[1 - level, 0.5, level]", "intervals are too narrow"),
    (RESAMPLE, "np.random.default_rng(seed).integers(n_trials, size=(n_resamples, n_trials))",
     "np.random.default_rng(0).integers(n_trials, size=(n_resamples, n_trials))", "resamples are not of the seed"),
    ("pipeline/evaluation/metrics/permutation.py", "return (1 + as_high) / (1 + n_permutations)",
     "return as_high / n_permutations", "p-values can be zero"),
    ("pipeline/evaluation/metrics/permutation.py", "dealt = np.random.default_rng(seed)", "dealt = np.random.default_rng(0)",
     "permutations are not of the seed"),
    (VELOCITY, "valid = np.logical_and.reduce([_is_known(y) for y in sets])", "valid = _is_known(sets[0])",
     "decoders of several lags are fitted on different bins"),
    (VELOCITY, "n_trials=int(valid.any(axis=1).sum()),\n        n_samples", "n_trials=len(x),\n        n_samples",
     "trials without a velocity are counted as scored"),
    (VELOCITY, "trial = np.broadcast_to(np.arange(len(x))[:, None], valid.shape)",
     "trial = np.arange(valid.size).reshape(valid.shape)", "bins of one trial are in training and test of a fold"),
    (RIDGE, "target_mean - self.feature_mean @ self.coefficients", "target_mean + self.feature_mean @ self.coefficients",
     "the intercept has the wrong sign"),
    (RIDGE, "return len(mean) - 1 - int(np.argmax(mean[::-1])), mean", "return int(np.argmax(mean)), mean",
     "of equal penalties the smallest is taken"),
    (RIDGE, "if number != fold])", "])", "a fold is scored on what it was fitted on"),
    (RIDGE, "fold_of = group_folds(groups, folds=folds, seed=seed)", "fold_of = group_folds(groups, folds=folds, seed=0)",
     "the seed of the cross-validation is not heeded"),
    (SAMPLES, "scale = np.where(constant, 1.0, deviation) if standardise else np.ones_like(deviation)",
     "scale = np.ones_like(deviation)", "features are not standardised"),
    (SAMPLES, "between = np.sqrt(number) * (means - mean)", "between = 0 * (means - mean)",
     "parts are joined without what lies between their means"),
    (HISTORY, "cut = 0 if before is not None and np.isfinite(before).any() else self.bins - 1", "cut = 0",
     "bins without a history are scored"),
    (SCAN, "return self.lags_ms[int(np.argmax(self.cv_r2))]", "return self.lags_ms[int(np.argmin(self.cv_r2))]",
     "the worst lag is called the best"),
    (SCAN, "at_every_lag = np.logical_and.reduce([one.valid for one in paired])", "at_every_lag = paired[0].valid",
     "lags are compared on different bins"),
    (KSTEP, "ahead = truth[:, t0 : t0 + guess.shape[1]]", "ahead = truth[:, t0 - 1 : t0 - 1 + guess.shape[1]]",
     "a forecast is held against the bin before"),
    (KSTEP, "mean = np.where(kept, truth, 0.0).sum(1, keepdims=True) / number",
     "mean = np.where(kept, truth, 0.0).sum((0, 1), keepdims=True) / number.sum(0, keepdims=True)",
     "forecasts are held against the mean of all trials"),
    (KSTEP, "steps = slice(None) if step is None else slice(step - 1, step)",
     "steps = slice(None) if step is None else slice(step, step + 1)", "a step of a forecast is the one after it"),
)  # fmt: skip
