"""A run's metrics as they come: read from the device one chunk late, checked, written, and shown in lines."""

import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax

from reid_jax.training.metric_writer import MetricWriter
from reid_jax.training.plan import Plan

_SECONDS_BETWEEN_LINES = 5


def say(text: str) -> None:
    """Prints on process 0 alone, at once."""
    if jax.process_index() == 0:
        print(text, flush=True)


class TrainingLog:
    """Reads a chunk's metrics once the next chunk is under way, checks, writes and shows them.

    Raises FloatingPointError, naming the step and what was not finite first, where the loss or its gradient is not.
    """

    def __init__(
        self,
        plan: Plan,
        schedule: optax.Schedule,
        batch_size: int,
        writer: MetricWriter,
        names: Sequence[str],
        waited: Callable[[], float] = float,
    ):
        """`names` of the metrics of a step, beside which the rate is written; `waited`: seconds spent on images."""
        self._plan, self._schedule, self._batch_size, self._writer = plan, schedule, batch_size, writer
        self._names, self._waited = names, waited
        self._pending: list[tuple[int, int, dict[str, jax.Array], Callable[[int], str]]] = []
        self._first_step, self._first_time = None, None
        self._last_line = 0.0

    def push(self, begin: int, end: int, history: dict[str, jax.Array], first_not_finite: Callable[[int], str]) -> None:
        """Takes the metrics of steps `begin` to `end`, still being computed, and handles those of the chunk before.

        `first_not_finite` says of a step of the chunk, counted from 0, what was not finite first.
        """
        self._pending.append((begin, end, history, first_not_finite))
        if len(self._pending) > 1:
            self._handle(*self._pending.pop(0))

    def flush(self) -> None:
        """Handles all that is pending; waits for it."""
        while self._pending:
            self._handle(*self._pending.pop(0))

    def write_validation(self, step: int, metrics: dict[str, float]) -> None:
        """Writes and shows an evaluation on the held-out identities."""
        kept = {f"val_{name}": metrics[name] for name in ("rank1", "mAP", "mINP")}
        self._writer.write(step, step / self._plan.steps_per_epoch, kept)
        say(
            f"epoch {step / self._plan.steps_per_epoch:6.1f}  held-out identities: "
            f"rank-1 {100 * metrics['rank1']:.1f} %  mAP {100 * metrics['mAP']:.1f} %"
        )

    def write_cycle(self, step: int, scores: dict[str, dict[str, float]]) -> None:
        """Writes and shows how the last, the averaged and the sampled weights score at the end of a cycle."""
        epoch = step / self._plan.steps_per_epoch
        kept = {f"{name}_{key}": metrics[key] for name, metrics in scores.items() for key in ("rank1", "mAP")}
        self._writer.write(step, epoch, kept)
        shown = "  ".join(
            f"{name} {100 * metrics['rank1']:.1f} / {100 * metrics['mAP']:.1f}" for name, metrics in scores.items()
        )
        say(f"epoch {epoch:6.1f}  end of cycle {step // self._plan.cycle}, rank-1 / mAP: {shown}")

    def _handle(self, begin, end, history, first_not_finite):
        history = {name: np.asarray(values)[: end - begin] for name, values in history.items()}
        finite = np.isfinite(history["loss"]) & np.isfinite(history["gradient_norm"])
        if not finite.all():
            offset = int(np.argmin(finite))
            bad = begin + offset + 1
            say(f"step {bad} is not finite; it is taken once more, to see what was not finite first")
            raise FloatingPointError(
                f"the loss or its gradient is not finite at step {bad} (epoch {bad / self._plan.steps_per_epoch:.2f}, "
                f"loss {history['loss'][offset]}); not finite first was {first_not_finite(offset)}; "
                "lower schedule.peak or lengthen schedule.warmup_epochs"
            )
        means = {name: float(np.mean(history[name], dtype=np.float64)) for name in self._names}
        rate = float(self._schedule(end - 1))
        epoch = end / self._plan.steps_per_epoch
        self._writer.write(end, epoch, {**means, "learning_rate": rate})
        now = time.monotonic()
        if self._first_time is None:  # the first chunk's time is mostly compilation
            self._first_step, self._first_time = end, now
        if now - self._last_line >= _SECONDS_BETWEEN_LINES or end == self._plan.total:
            self._last_line = now
            say(self._line(end, epoch, means, rate, now))

    def _line(self, step, epoch, means, rate, now):
        shown = f"loss {means['loss']:6.3f}  cross-entropy {means['cross_entropy']:5.2f}"
        if "triplet" in means:
            shown += f"  triplet {means['triplet']:.3f}"
        line = f"epoch {epoch:6.1f}  step {step}/{self._plan.total}  {shown}  accuracy {100 * means['accuracy']:4.1f} %"
        line += f"  rate {rate:.1e}"
        exponents = [f"{value:.2f}" for name, value in means.items() if name.startswith("gem_p")]
        if exponents:
            line += f"  GeM's p {' / '.join(exponents)}"
        if step > self._first_step:
            per_second = (step - self._first_step) / (now - self._first_time)
            left = (self._plan.total - step) / per_second
            line += f"  {per_second * self._batch_size:.0f} images/s"
            waited = self._waited()
            if waited:
                line += f"  waiting for images {100 * waited / (now - self._first_time):.0f} %"
            line += f"  left {_clock(left)}"
        return line


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
