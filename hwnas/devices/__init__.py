"""Devices: what they are (profile), how they are reached (transport), how models are measured (device, campaign)."""
