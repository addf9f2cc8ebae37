"""Pictures of graphs and networks, and plots of how they were trained."""

from __future__ import annotations

from tinygrad_lesson.viz.axes import save_figure
from tinygrad_lesson.viz.distributions import plot_activations, plot_weights
from tinygrad_lesson.viz.draw import draw
from tinygrad_lesson.viz.flow import gradient_flow, network_svg
from tinygrad_lesson.viz.network import plot_network
from tinygrad_lesson.viz.page import page
from tinygrad_lesson.viz.plots import (
    plot_depths,
    plot_gradients,
    plot_heatmap,
    plot_loss,
    plot_losses,
    plot_remedies,
    side_by_side,
)
from tinygrad_lesson.viz.program import show_program
from tinygrad_lesson.viz.render import save
from tinygrad_lesson.viz.summary import print_summary

__all__ = [
    "draw", "gradient_flow", "network_svg", "page", "plot_activations", "plot_depths", "plot_gradients", "plot_heatmap",
    "plot_loss", "plot_losses", "plot_network", "plot_remedies", "plot_weights", "print_summary", "save", "save_figure",
    "show_program", "side_by_side",
]  # fmt: skip
