"""RunPod: a pod that is rented for one run."""
