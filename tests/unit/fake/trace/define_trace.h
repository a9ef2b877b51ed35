/* SPDX-License-Identifier: GPL-2.0-only */
/* There are no tracepoints: see ../linux/device-mapper.h. */
