"""Records of older forms brought to the present one."""
