/* SPDX-License-Identifier: GPL-2.0-only */
/* See device-mapper.h. */
#ifndef FAKE_RANDOM_H
#define FAKE_RANDOM_H

#include "device-mapper.h"

u32 get_random_u32(void);

#endif
