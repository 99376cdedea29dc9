"""What trains, watches and forecasts; knows no screen, and no torch outside `engine.training`."""

__version__ = "0.1.0"
