"""Runners: where trials train. Two of them, behind one seam: `ray_tune` and `in_process`."""
