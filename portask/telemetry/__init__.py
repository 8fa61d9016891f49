"""What Portask tells about itself: logs, metrics, health."""
