"""LFADS of lfads-torch (Sedler and Pandarinath 2023) along posterior means, and the checkpoint it leaves.

Names, shapes and order of the weights, and the hyper-parameters beside them, are those of the files that
PyTorch Lightning writes of it.
"""

import torch
from torch.nn import functional

T, LAG, CLIP = 7, 2, 0.4
"""Bins a model is shown, lag of its controller, largest state."""

G, IC, F, H_IC, H_CI, K = 6, 3, 4, 5, 3, 5
"""Sizes: generator, initial condition, factors, encoders, controller."""


class Reference:
    """The forward pass of lfads-torch along posterior means, written down anew from its equations."""

    def __init__(self, *, n_in=(5,), n_out=(5,), width=None, n_inferred=2, n_external=0, n_params=1):
        self.n_in, self.n_out, self.n_params = n_in, n_out, n_params
        self.C, self.U = n_inferred, n_external
        P = width or n_in[0]
        make = torch.Generator().manual_seed(1)
        self.w: dict[str, torch.Tensor] = {}

        def add(name, *shape):
            self.w[name] = 0.6 * torch.randn(shape, generator=make)

        def linear(name, n_from, n_to):
            add(f"{name}.weight", n_to, n_from)
            add(f"{name}.bias", n_to)

        def cell(name, n_from, n_to):
            add(f"{name}.weight_ih", 3 * n_to, n_from)
            add(f"{name}.weight_hh", 3 * n_to, n_to)
            add(f"{name}.bias_ih", 3 * n_to)
            add(f"{name}.bias_hh", 3 * n_to)

        for s, (n, m) in enumerate(zip(n_in, n_out, strict=True)):
            if width:
                linear(f"readin.{s}", n, width)
            linear(f"readout.{s}", F, m * n_params)
        encoders = {"ic": H_IC, "ci": H_CI} if n_inferred else {"ic": H_IC}
        for name, n in encoders.items():
            add(f"encoder.{name}_enc_h0", 2, 1, n)
            for direction in ("fwd", "bwd"):
                cell(f"encoder.{name}_enc.{direction}_gru.cell", P, n)
        linear("encoder.ic_linear", 2 * H_IC, 2 * IC)
        linear("decoder.ic_to_g0", IC, G)
        add("decoder.con_h0", 1, K)
        cell("decoder.rnn.cell.gen_cell", n_inferred + n_external, G)
        add("decoder.rnn.cell.fac_linear.weight", F, G)
        if n_inferred:
            cell("decoder.rnn.cell.con_cell", 2 * H_CI + F, K)
            linear("decoder.rnn.cell.co_linear", K, 2 * n_inferred)
            add("co_prior.logtaus", n_inferred)
            add("co_prior.lognvars", n_inferred)
        add("ic_prior.mean", IC)
        self.w["ic_prior.logvar"] = torch.full((IC,), 0.1).log()

    def linear(self, name, x):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def step(self, name, x, h):
        of_x = x @ self.w[f"{name}.weight_ih"].T + self.w[f"{name}.bias_ih"]
        n = h.shape[1]
        w, b = self.w[f"{name}.weight_hh"], self.w[f"{name}.bias_hh"]
        of_h = h @ w[: 2 * n].T + b[: 2 * n]
        update = torch.sigmoid(of_x[:, :n] + of_h[:, :n])
        reset = torch.sigmoid(of_x[:, n : 2 * n] + of_h[:, n:])
        candidate = torch.tanh(of_x[:, 2 * n :] + (reset * h) @ w[2 * n :].T + b[2 * n :])
        return (update * h + (1 - update) * candidate).clamp(-CLIP, CLIP)

    def both_ways(self, name, x):
        states = []
        for number, direction in enumerate(("fwd", "bwd")):
            read = x if number == 0 else x.flip(1)
            h, out = self.w[f"{name}_h0"][number].expand(len(x), -1), []
            for t in range(x.shape[1]):
                h = self.step(f"{name}.{direction}_gru.cell", read[:, t], h)
                out.append(h)
            states.append(torch.stack(out, 1))
        return states[0], states[1].flip(1)

    def params(self, y, session=0, external=None, n_ahead=0):
        """Return parameters of all units, `n_ahead` bins after those shown included.

        Shape ``(trial, time, n_params, unit)``.
        """
        x = y[..., : self.n_in[session]]
        if f"readin.{session}.weight" in self.w:
            x = self.linear(f"readin.{session}", x)
        forward, backward = self.both_ways("encoder.ic_enc", x)
        mean = self.linear("encoder.ic_linear", torch.cat([forward[:, -1], backward[:, 0]], 1))[:, :IC]
        h = self.linear("decoder.ic_to_g0", mean)
        to_factors = functional.normalize(self.w["decoder.rnn.cell.fac_linear.weight"], dim=1)
        factors, k = h @ to_factors.T, self.w["decoder.con_h0"].expand(len(y), -1)
        if self.C:
            forward, backward = self.both_ways("encoder.ci_enc", x)
            zeros = torch.zeros(len(y), LAG, H_CI)
            seen = torch.cat(
                [torch.cat([zeros, forward[:, :-LAG]], 1), torch.cat([backward[:, LAG:], zeros], 1)], 2
            )
            seen = functional.pad(seen, (0, 0, 0, n_ahead))
        if external is not None:
            external = functional.pad(external, (0, 0, 0, y.shape[1] + n_ahead - external.shape[1]))
        out = []
        for t in range(y.shape[1] + n_ahead):
            drive = [] if external is None else [external[:, t]]
            if self.C:
                k = self.step("decoder.rnn.cell.con_cell", torch.cat([seen[:, t], factors], 1), k)
                drive.insert(0, self.linear("decoder.rnn.cell.co_linear", k)[:, : self.C])
            h = self.step("decoder.rnn.cell.gen_cell", torch.cat(drive, 1) if drive else h[:, :0], h)
            factors = h @ to_factors.T
            out.append(self.linear(f"readout.{session}", factors))
        return torch.stack(out, 1).unflatten(2, (self.n_params, -1))

    def hyper(self, **changes):
        return {
            "encod_data_dim": self.n_in[0], "ext_input_dim": self.U, "ic_enc_dim": H_IC, "ci_enc_dim": H_CI,
            "con_dim": K, "co_dim": self.C, "ic_dim": IC, "gen_dim": G, "fac_dim": F, "loss_scale": 1e4,
            "encod_seq_len": T, "recon_seq_len": T, "ic_enc_seq_len": 0, "ci_lag": LAG, "cell_clip": CLIP,
            "ic_post_var_min": 1e-4, "dropout_rate": 0.1, "kl_ic_scale": 1e-3, "kl_co_scale": 2e-3,
            "recon_reduce_mean": True, "variational": True, "lr_init": 4e-3,
        } | changes  # fmt: skip

    def save(self, path, *, weights=None, **hyper):
        content = {
            "state_dict": weights or self.w, "hyper_parameters": self.hyper(**hyper), "global_step": 70,
            "epoch": 3, "optimizer_states": [], "pytorch-lightning_version": "1.5.0",
        }  # fmt: skip
        torch.save(content, path)
        return path
