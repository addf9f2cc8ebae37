"""Pictures of graphs and networks, and plots of how they were trained."""

from tinygrad_lesson.viz.draw import draw
from tinygrad_lesson.viz.flow import gradient_flow, network_svg
from tinygrad_lesson.viz.network import plot_network
from tinygrad_lesson.viz.page import page
from tinygrad_lesson.viz.render import save

__all__ = ["draw", "gradient_flow", "network_svg", "page", "plot_network", "save"]
