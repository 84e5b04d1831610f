"""Tuning: schedules that were measured on this machine instead of chosen by a model."""
