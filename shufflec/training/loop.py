"""The loop over epochs and steps, and the state that it leaves behind after each epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from shufflec.errors import InputFileError, ShufflecError
from shufflec.training.distributed import Processes, peers_needed
from shufflec.training.ema import MovingAverage
from shufflec.training.evaluate import Metrics
from shufflec.training.held_out import HeldOut
from shufflec.training.loader import TrainingLoader
from shufflec.training.log import NoLog, TensorBoardLog, TrainingLog
from shufflec.training.recipe import Recipe
from shufflec.training.resume import TrainingState, load_state, save_state
from shufflec.training.runtime import autocast, grad_scaler
from shufflec.training.sync_batch_norm import synchronise_batch_norm


@dataclass(frozen=True)
class TrainingProgress:
    """After one step. loss, accuracy: over this epoch's training images so far, as they were augmented.

    resumed_epochs: whole epochs that an earlier run had done. test_top1: once an epoch, after its
    last step, except for the last epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    resumed_epochs: int = 0
    test_top1: float | None = None


class TrainingRun:
    """One training in hand: the network and all that changes with it."""

    def __init__(
        self,
        model: torch.nn.Module,
        loader: TrainingLoader,
        held_out: HeldOut,
        recipe: Recipe,
        processes: Processes,
        precision: str,
    ):
        self._model = model
        self._loader = loader
        self._held_out = held_out
        self._recipe = recipe
        self._processes = processes
        self._precision = precision
        self._optimizer = recipe.optimizer(model)
        self._scaler = grad_scaler(processes.device, precision)
        self._ema = MovingAverage(model, recipe.ema) if recipe.ema else None
        self._log: TrainingLog = NoLog()
        self._state_file: Path | None = None
        self._fingerprint: dict[str, str] = {}
        self._done = 0
        self.epochs = recipe.epochs_of(loader.steps)
        self._steps = recipe.steps_of(loader.steps)

    def restore(self, path: Path | None, run: dict[str, str]) -> None:
        """Goes on from the state at `path`, where there is one; later states are written there.

        Raises InputFileError for a state that is damaged or of another run than `run` tells.
        """
        self._state_file, self._fingerprint = path, run
        state = self._processes.from_first(lambda: load_state(path, run)) if path else None
        if state is None:
            return
        try:
            self._model.load_state_dict(state.model)
            self._optimizer.load_state_dict(state.optimizer)
            self._scaler.load_state_dict(state.scaler)
            if self._ema is not None:
                self._ema.load_state_dict(state.ema)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputFileError(path, "is a damaged training state", "start over with --restart") from error
        self._done = min(state.epoch, self.epochs)

    def train(self, progress: Callable[[TrainingProgress], None] | None, log_dir: Path | None) -> None:
        """All epochs that are left, then the passes that only average batch-norm statistics."""
        processes = self._processes
        if log_dir is not None and processes.rank == 0:
            self._log = TensorBoardLog(log_dir, self._done * self._loader.steps + 1)
        # The first process alone may have someone to tell, but all take part in the evaluation.
        watched = processes.from_first(lambda: progress is not None or log_dir is not None)
        network = self._network()
        for epoch in range(self._done, self.epochs):
            for state in self._epoch(network, epoch):
                if progress and processes.rank == 0:
                    progress(state)
            self._average_statistics()
            if self._state_file and processes.rank == 0:
                save_state(self._state_file, self._fingerprint, self._state(epoch + 1))
            if watched and epoch + 1 < self.epochs:
                metrics = self._held_out.evaluate(self.result())
                self._log_accuracy(metrics, (epoch + 1) * self._loader.steps)
                if progress and processes.rank == 0:
                    progress(replace(state, test_top1=metrics.top1))
        if self._recipe.bn_epochs:
            self._model.load_state_dict(self.result().state_dict())
            self._ema = None
            self._batch_norm_passes()

    def result(self) -> torch.nn.Module:
        """The network with its weights, or with their moving average."""
        if self._ema is None:
            return self._model
        averaged = copy.deepcopy(self._model)
        averaged.load_state_dict(self._ema.weights)
        return averaged

    def log_result(self, metrics: Metrics) -> None:
        """Logs the accuracy of the whole training."""
        self._log_accuracy(metrics, self._steps)

    def close(self) -> None:
        """Writes what is left of the logs."""
        self._log.close()

    def _log_accuracy(self, metrics: Metrics, step: int) -> None:
        self._log.scalar("test/top1", metrics.top1, step)
        self._log.scalar("test/top5", metrics.top5, step)

    def _network(self) -> torch.nn.Module:
        """What to call for a step: the model, wrapped where gradients are averaged over processes."""
        if self._processes.world == 1:
            return self._model
        if self._recipe.sync_bn:
            synchronise_batch_norm(self._model)
        device = self._processes.device
        # Batch-norm statistics are averaged after each epoch instead of sent around in each step.
        return DistributedDataParallel(
            self._model, device_ids=[device] if device.type == "cuda" else None, forward_sync_buffers=False
        )

    def _epoch(self, network: torch.nn.Module, epoch: int) -> Iterator[TrainingProgress]:
        """One pass over the training split, or as much of it as total_steps leaves; yields after each step."""
        recipe, processes, steps = self._recipe, self._processes, self._loader.steps
        count = min(steps, self._steps - epoch * steps)
        network.train()
        seen = right = loss_sum = 0.0
        batches = self._loader.epoch(epoch, count)
        for step in range(count):
            with processes.own_errors():
                inputs, labels = next(batches)
            with peers_needed():
                loss, totals = self._forward(network, inputs, labels)
                batch_loss, batch_right, batch_seen = processes.sum(totals).tolist()
                # All processes see the same sum, so that all of them stop here or none.
                if not math.isfinite(batch_loss):
                    where = f"epoch {epoch + 1}, step {step + 1}"
                    raise ShufflecError(f"the loss is {batch_loss} in {where}", "train again with a smaller --lr")
                rate = recipe.learning_rate(epoch * steps + step, steps)
                self._backward(loss, rate)
            seen, right, loss_sum = seen + batch_seen, right + batch_right, loss_sum + batch_loss
            done = epoch * steps + step + 1
            if self._ema is not None and done % recipe.ema_every == 0:
                self._ema.update(self._model)
            self._log.scalar("train/loss", batch_loss / batch_seen, done)
            self._log.scalar("train/accuracy", batch_right / batch_seen, done)
            self._log.scalar("train/learning_rate", rate, done)
            yield TrainingProgress(epoch + 1, self.epochs, step + 1, count, loss_sum / seen, right / seen, self._done)

    def _forward(
        self, network: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss of a batch; and float64 [3]: the loss summed over its images, how many were right, how many."""
        device = self._processes.device
        labels = labels.to(device)
        with autocast(device, self._precision):
            logits = network(inputs.to(device, memory_format=torch.channels_last)).float()
        loss = cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        classes = labels.argmax(1) if labels.ndim == 2 else labels
        right = int((logits.argmax(1) == classes).sum())
        return loss, torch.tensor([float(loss.detach()) * len(labels), right, len(labels)], dtype=torch.float64)

    def _backward(self, loss: torch.Tensor, rate: float) -> None:
        """One step of the optimizer."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def _average_statistics(self) -> None:
        """Gives all processes the mean of their batch-norm statistics."""
        self._processes.average(self._model.buffers())
        if self._ema is not None:
            weights = self._ema.weights
            self._processes.average(weights[name] for name, _ in self._model.named_buffers())

    @torch.no_grad()
    def _batch_norm_passes(self) -> None:
        """Passes over the training images that replace batch-norm statistics by their mean over all batches."""
        norms = [module for module in self._model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for the mean over all batches
        self._model.train()
        for number in range(self.epochs, self.epochs + self._recipe.bn_epochs):
            for inputs, _ in self._loader.epoch(number):
                with autocast(self._processes.device, self._precision), peers_needed():
                    self._model(inputs.to(self._processes.device, memory_format=torch.channels_last))
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        self._average_statistics()

    def _state(self, epoch: int) -> TrainingState:
        ema = self._ema.state_dict() if self._ema is not None else {}
        return TrainingState(
            epoch, self._model.state_dict(), self._optimizer.state_dict(), self._scaler.state_dict(), ema
        )
