"""What is wrong with a network's gradients, in words: `diagnose`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import shown
from tinygrad_lesson.train import marks
from tinygrad_lesson.train.history import History
from tinygrad_lesson.train.probe import Layer

PREDICTS = 1e-4, 1e3  # a product of Jacobians below or above foretells a gradient that vanishes or explodes
MANY = 0.5  # of a layer's units dead are reason enough for another activation
LISTED = 8  # layers or units that are named one by one
TINY = 1e-300  # instead of 0, which has no logarithm
LEARNT = 0.01  # of the first loss: the lesson's networks that learn lose a fifth and more, the others 0.15 %
SMALL = 0.1  # a layer that lets less of the gradient through has small weights
EPSILON = 1e-8  # Adam's, by default: gradients far below it are not brought to size


class Finding(NamedTuple):
    """What is wrong with a layer's gradient in epochs `since` to `until`, counted from 1.

    `kind` is ``vanishing``, ``exploding``, ``dead`` (exactly zero) or ``not finite``. `orders` of magnitude
    lie between the gradient and `against`: the median of these epochs beside another layer, the most beside
    the layer's start or 1. `bypassed` tells that layers before it get their gradient all the same.
    """

    layer: str
    kind: str
    since: int
    until: int
    orders: float
    against: str
    bypassed: bool


@dataclasses.dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found; its text is `str` of it.

    `dead_units` lists, per layer, units that are 0 for every row after training, of `units`. `arrives` tells
    per layer, at the first weights, what is left there of a gradient of length 1 at the last layer's result:
    the product of the Jacobians between. `marks` has a character per epoch for each weight (`train.marks`).
    `loss` is that of the first and of the last epoch, NaN where it is not known.
    """

    layers: tuple[str, ...]
    epochs: int
    findings: tuple[Finding, ...]
    dead_units: dict[str, list[int]]
    units: dict[str, int]
    arrives: dict[str, float]
    remedies: tuple[str, ...]
    marks: dict[str, str]
    loss: tuple[float, float] = (math.nan, math.nan)

    def of_kind(self, kind: str) -> list[str]:
        """The layers with a finding of this kind."""
        return [finding.layer for finding in self.findings if finding.kind == kind]

    @property
    def vanishing(self) -> list[str]:
        """Layers whose gradient vanishes."""
        return self.of_kind("vanishing")

    @property
    def exploding(self) -> list[str]:
        """Layers whose gradient explodes."""
        return self.of_kind("exploding")

    @property
    def reached(self) -> bool:
        """Whether the gradient reaches every layer, or the layers before it, beside the strongest layer's."""
        return all(finding.bypassed for finding in self.findings)

    @property
    def stuck(self) -> bool:
        """Whether the loss is known and has not fallen by a hundredth, in `marks.SUSTAINED` epochs or more."""
        return has_stuck(self.loss, self.epochs)

    @property
    def healthy(self) -> bool:
        """Whether the gradient reaches every layer and the loss has fallen, as far as it is known."""
        return self.reached and not self.stuck

    @property
    def predicted(self) -> float:
        """Of `arrives` the share at the first layer, the whole product; NaN if unknown."""
        return next(iter(self.arrives.values()), math.nan)

    def __repr__(self) -> str:  # what a prompt and a notebook show
        return str(self)

    def __str__(self) -> str:
        return "\n".join(map(shown, [self.headline(), *self.lines()]))

    def headline(self) -> str:
        """One sentence: what is wrong, or that nothing is."""
        count = len(self.layers)
        if self.reached and self.stuck:
            return f"The network has learnt nothing: {self.told_loss()}."
        if self.findings and self.healthy:
            without = len({f.layer for f in self.findings})
            return f"The gradient neither vanishes nor explodes: it goes around {without} of {count} layers."
        if self.healthy:
            all_ = f"all {count} layers" if count != 1 else "its one layer"
            return f"The gradient neither vanishes nor explodes: it reaches {all_}."
        said = []
        for kind, words in (
            ("vanishing", "vanishes"), ("exploding", "explodes"), ("dead", "is exactly zero"),
            ("not finite", "is not finite"),
        ):  # fmt: skip
            layers = {f.layer for f in self.findings if f.kind == kind and not f.bypassed}
            if layers:
                said.append(f"{words} in {len(layers)} of {count} layers")
        return f"The gradient {', '.join(said)}."

    def lines(self) -> list[str]:
        """The rest, a fact a line."""
        told = [f"  {line}" for line in told_findings(self.findings, self.layers, self.epochs)]
        if self.stuck and self.reached:
            told.append("  The layers' gradients are of like size, so none vanishes on its way back.")
            told.append("  A network that had learnt before, or whose loss cannot fall, looks the same.")
        elif self.stuck:
            told.append(f"  It has learnt nothing: {self.told_loss()}.")
        told += [line for line in (self.prediction(), self.told_dead_units()) if line]
        if self.remedies:
            told.append("What helped the lesson's networks, and may help here:")
            told += [f"  - {remedy}" for remedy in self.remedies]
        return told

    def told_loss(self) -> str:
        """The first and the last loss."""
        first, last = self.loss
        return f"the loss went from {first:.5g} to {last:.5g} in {self.epochs} epochs"

    def prediction(self) -> str:
        """What the first weights said before the first step; empty if that is not known."""
        if not math.isfinite(self.predicted) or len(self.arrives) < 2:
            return ""
        (first, *_, last), product = self.arrives, self.predicted
        if product == 0:
            return f"The first weights predict it: between {first} and {last} the gradient is lost whole."
        each = product ** (1 / (len(self.arrives) - 1))
        low, high = PREDICTS
        foretold = "small" if product < low else "large" if product > high else ""
        if not foretold:
            verdict = "let it through"
        elif self.stuck and self.reached:
            verdict = f"make it {foretold} in all but the last layers"
        elif self.healthy:
            verdict = f"made it start {foretold}, which the training has overcome"
        else:
            verdict = "predicted it"
        return (
            f"The first weights {verdict}: from {last} back to {first} the layers' Jacobians multiply "
            f"a gradient by {product:.1e}, {each:.2g} per layer."
        )

    def told_dead_units(self) -> str:
        """Which units are dead; empty if none."""
        if not self.dead_units:
            return ""
        if len(self.dead_units) > LISTED:
            dead, units = (sum(map(len, self.dead_units.values())), sum(self.units.values()))
            worst = max(self.dead_units, key=lambda layer: len(self.dead_units[layer]) / self.units[layer])
            which = f"{dead} of {units}, in {len(self.dead_units)} layers; most in {self.told_dead(worst)}"
        else:
            which = "; ".join(map(self.told_dead, self.dead_units))
        return f"Dead units, 0 for every row after training: {which}."

    def told_dead(self, layer: str) -> str:
        """`fc1 2 of 10 (7, 8)`."""
        dead, count = self.dead_units[layer], self.units[layer]
        if len(dead) == count:
            return f"{layer} all {count}"
        more = ", ..." if len(dead) > LISTED else ""
        return f"{layer} {len(dead)} of {count} ({', '.join(map(str, dead[:LISTED]))}{more})"


@np.errstate(over="ignore")  # what a float cannot hold is infinite, and told as such
def diagnose(history: Any) -> Diagnosis:
    """Which layers' gradients vanish or explode, since when, what foretold it, and what helps.

    `history` is what `FeedForward.fit` gives, the model itself, a ``history.json`` or what it holds. A verdict
    needs `marks.SUSTAINED` epochs of the kind; how much is much is said in `train.marks`, and the tests hold
    it against the lesson's networks.

    Errors
        FormatError naming the file and the key that is wrong; DTypeError for anything else.

    Example
        >>> import tinygrad_lesson as tl
        >>> sizes = {"fc0_weight": [1e-12] * 60, "fc1_weight": [1e-2] * 60}
        >>> str(tl.diagnose({"loss": [1.0] * 60, "mean_abs_grad": sizes})).splitlines()[0]
        'The gradient vanishes in 1 of 2 layers.'
    """
    told = History.read(history)
    names = list(told.mean_abs_grad)
    gradients = marks.as_matrix(told.mean_abs_grad)
    symbol = told.trained.symbol if told.trained else None
    within_reach = marks.reached(gradients, names, symbol)
    first, last = told.layers["first"], told.layers["last"]
    foretold = max((layer.arrives for layer in first if math.isfinite(layer.arrives)), default=math.nan)
    marked = marks.mark(gradients, within_reach, told.loss, foretold)
    layers = [name.removesuffix("_weight") for name in names]
    found = [
        as_finding(layers, i, stretch, gradients, within_reach)
        for i in range(len(layers))
        for stretch in marks.segments(marked[i])
    ]
    findings = [f for f in found if not f.bypassed or f.until == gradients.shape[1]]
    return Diagnosis(
        layers=tuple(layers),
        epochs=gradients.shape[1],
        findings=tuple(findings),
        dead_units={layer.name: layer.dead for layer in last if layer.dead},
        units={layer.name: layer.units for layer in last},
        arrives={layer.name: layer.arrives for layer in first},
        remedies=tuple(remedies(findings, told)),
        marks={name: "".join(row) for name, row in zip(names, marked, strict=True)},
        loss=ends_of(told),
    )


def ends_of(history: History) -> tuple[float, float]:
    """The first and the last loss, NaN where there is none."""
    first, last = history.loss[:1], history.loss[-1:]
    known = [math.nan if value is None else value for value in [*first, *last]]
    return (known[0], known[1]) if known else (math.nan, math.nan)


def has_stuck(loss: tuple[float, float], epochs: int) -> bool:
    """Whether a loss has not fallen; False where it is not known, or too few epochs have been trained."""
    first, last = loss
    return epochs >= marks.SUSTAINED and bool(first - last < LEARNT * abs(first))


def as_finding(
    layers: Sequence[str], i: int, stretch: marks.Segment, gradients: Any, within_reach: Any
) -> Finding:
    """The stretch of layer `i` with its size in orders of magnitude."""
    kind, epochs = marks.WORDS[stretch.mark], np.s_[stretch.since - 1 : stretch.until]
    values = np.nan_to_num(gradients, posinf=0)
    strongest = values[:, epochs].max(axis=0)
    bypassed, orders, against = False, math.inf, ""
    if stretch.mark == marks.VANISHING:
        top = layers[int(np.median(values[:, epochs], axis=1).argmax())]
        orders, against = orders_between(strongest, values[i, epochs]), f"below {top}"
    elif stretch.mark == marks.EXPLODING:
        orders, against = size_of_explosion(layers, i, values, epochs)
    elif stretch.mark == marks.DEAD:
        bypassed = bool(np.median(within_reach[i, epochs] > marks.VANISHED * strongest))
    return Finding(layers[i], kind, stretch.since, stretch.until, orders, against, bypassed)


def orders_between(large: Any, small: Any) -> float:
    """By how many orders of magnitude one is above the other, in the middle of the epochs."""
    return float(np.median(np.log10(np.maximum(large, TINY)) - np.log10(np.maximum(small, TINY))))


def size_of_explosion(layers: Sequence[str], i: int, values: Any, epochs: slice) -> tuple[float, str]:
    """Orders of magnitude, and above what: the last layer, the layer's own start, or else 1."""
    own, last = values[i, epochs], values[-1, epochs]
    if orders_between(own, last) > math.log10(marks.EXPLODED) and last.all():
        return orders_between(own, last), f"above {layers[-1]}"
    start = np.median(values[i, : marks.SUSTAINED])
    if own.max() > marks.EXPLODED * start > 0 and values[i].argmax() >= marks.SUSTAINED:
        return orders_between(own.max(), start), "above its start"
    return orders_between(own.max(), 1.0), "above 1"


def told_findings(findings: Iterable[Finding], layers: Sequence[str], epochs: int) -> list[str]:
    """A line for all layers with the same trouble in the same epochs."""
    groups: dict[Any, list[Finding]] = {}
    for finding in findings:
        key = finding.kind, finding.since, finding.until, finding.against, finding.bypassed
        groups.setdefault(key, []).append(finding)
    return [told_group(group, layers, epochs) for group in groups.values()]


def told_group(group: Sequence[Finding], layers: Sequence[str], epochs: int) -> str:
    """`fc1 to fc4: vanishing, 9 to 10 orders of magnitude below fc8, since epoch 3`."""
    finding = group[0]
    who = told_names([f.layer for f in group], layers)
    if finding.until == epochs:
        when = "in every epoch" if finding.since == 1 else f"since epoch {finding.since}"
    else:
        when = f"in epochs {finding.since} to {finding.until}"
    if not math.isfinite(finding.orders):
        what = "exactly zero" if finding.kind == "dead" else "not finite"
        around = "; the layers before are reached around it" if finding.bypassed else ""
        return f"{who}: {what} {when}{around}"
    low, high = (round(pick(f.orders for f in group)) for pick in (min, max))
    size = f"{low}" if low == high else f"{low} to {high}"
    plural = "order" if (low, high) == (1, 1) else "orders"
    return f"{who}: {finding.kind}, {size} {plural} of magnitude {finding.against}, {when}"


def told_names(names: Sequence[str], layers: Sequence[str]) -> str:
    """`fc1 to fc3, fc7`: names, those of three and more neighbours as first and last."""
    at = {layer: i for i, layer in enumerate(layers)}
    runs: list[list[str]] = []
    for name in names:
        if runs and at[name] == at[runs[-1][-1]] + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def remedies(findings: Sequence[Finding], history: History) -> list[str]:
    """What is left to try, with the reason; none where nothing is wrong.

    It may be the structure, batch normalization, the first weights, the activation or the optimizer. What is
    advised to the lesson's networks the tests try on them.
    """
    kinds = {f.kind for f in findings if not f.bypassed}
    if not kinds and has_stuck(ends_of(history), history.epochs):
        kinds = {"stuck"}
    if not kinds:
        return []
    layers = history.layers["last"]
    ops = {op for layer in layers for op in layer.ops}
    advice = []
    if "vanishing" in kinds and not any(layer.joined for layer in layers):
        advice.append(
            "structure: residual or dense connections lead the gradient around the layers, so that it need "
            "not pass through all of them"
        )
    if "BatchNorm" not in ops:
        advice.append(
            "batch normalization between layer and activation: it sets the size of what each layer passes "
            "on, whatever the first weights"
        )
        advice += about_first_weights(kinds, history.layers["first"])
    advice += about_activation(kinds, ops, history)
    return advice + about_optimizer(kinds, findings, history)


def about_first_weights(kinds: set[str], layers: Sequence[Layer]) -> list[str]:
    """Whether larger ones help."""
    share = layers[0].arrives if layers else math.nan
    if not kinds & {"vanishing", "stuck"} or len(layers) < 2 or not share > 0:
        return []
    each = share ** (1 / (len(layers) - 1))
    if share >= PREDICTS[0] and each >= SMALL:
        return []
    return [
        f"first weights: larger ones, such as Xavier(); these multiply the gradient by {each:.2g} per layer, "
        "and at about 1 it keeps its size"
    ]


def about_activation(kinds: set[str], ops: set[str], history: History) -> list[str]:
    """Whether another activation helps.

    A leaky relu opens what is shut. That is not enough where the weights make the gradient small: in the lesson's
    `mlp8` a slope of 0.25 leaves all as it was.
    """
    first, last = history.layers["first"], history.layers["last"]
    dead = any(len(layer.dead) >= MANY * layer.units for layer in last)
    if "Sigmoid" in ops or "Tanh" in ops:
        return ["activation: relu has slope 1 where it is open; sigmoid and tanh are flat far from 0"]
    if "Relu" not in ops or not ((dead and "vanishing" in kinds) or "dead" in kinds):
        return []
    if first and 0 < first[0].arrives < PREDICTS[0]:
        return [
            "not the activation alone: a leaky relu opens the units that are shut, but the weights would still "
            "make the gradient small"
        ]
    return ["activation: a leaky relu lets something through where relu is shut, so no unit is dead"]


def about_optimizer(kinds: set[str], findings: Sequence[Finding], history: History) -> list[str]:
    """Whether another optimizer helps."""
    if "exploding" in kinds or "not finite" in kinds:
        return ["optimizer: a smaller learning rate; and smaller first weights, which is where it begins"]
    names = {f"{f.layer}{end}" for f in findings if f.kind == "vanishing" for end in ("", "_weight")}
    gradients = [np.array(values) for name, values in history.mean_abs_grad.items() if name in names]
    smallest = min((np.median(values[values > 0]) for values in gradients), default=math.inf)
    if "vanishing" in kinds and smallest < EPSILON:
        return [
            "not the optimizer: Adam brings small gradients to size, but not those below its epsilon of "
            f"{EPSILON:g}; here they are {smallest:.0e}"
        ]
    if not kinds & {"vanishing", "stuck"}:
        return []
    if history.optimizer == "adam":
        return ["optimizer: a larger learning rate, or more epochs"] if "stuck" in kinds else []
    return ["optimizer: Adam, which brings each weight's gradient to the same size"]
