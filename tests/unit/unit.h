/* SPDX-License-Identifier: GPL-2.0-only */
/* What the unit tests have in common: cmocka with all that it wants before it, and a PRNG. */
#ifndef REMAP_UNIT_H
#define REMAP_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* splitmix64. Seeds are fixed: a test that failed fails again. */
static inline uint64_t rnd(uint64_t *seed)
{
	uint64_t x = *seed += 0x9e3779b97f4a7c15U;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
	x = (x ^ x >> 27) * 0x94d049bb133111ebU;
	return x ^ x >> 31;
}

#endif
