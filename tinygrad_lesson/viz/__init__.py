"""Pictures of networks, and plots of how they were trained."""
