"""Tests of profiles: visits, phases, the tuner."""
