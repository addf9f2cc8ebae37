"""Pictures of graphs and networks, and plots of how they were trained."""

from tinygrad_lesson.viz.draw import draw
from tinygrad_lesson.viz.flow import gradient_flow, network_svg
from tinygrad_lesson.viz.network import plot_network
from tinygrad_lesson.viz.page import page
from tinygrad_lesson.viz.program import show_program
from tinygrad_lesson.viz.render import save
from tinygrad_lesson.viz.summary import print_summary

__all__ = [
    "draw", "gradient_flow", "network_svg", "page", "plot_network", "print_summary", "save", "show_program",
]  # fmt: skip
