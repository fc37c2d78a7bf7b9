//go:build onednn

// Kernels for any processor.
#define TD_TABLE td_ops_base
#define VL 4
#include "kernels.inc.h"
