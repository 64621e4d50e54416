// The page of a warm command: see docs/warm.md.
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static const uint64_t page_format = 0x3159445453524455; // UDRSTDY1

struct page {
	uint64_t format;
	_Atomic uint64_t changes;
	struct { _Atomic uint64_t token; _Atomic int64_t boot, raw; } places[2];
};

static int64_t now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// may_work says whether this process may act under the token, at this moment.
static bool may_work(struct page *p, uint64_t token) {
	uint64_t n, t;
	int64_t boot, raw;
	do { // again, if it changed twice meanwhile
		n = p->changes;
		t = p->places[n % 2].token, boot = p->places[n % 2].boot, raw = p->places[n % 2].raw;
	} while (p->changes != n);
	return t == token && token != 0 && now(CLOCK_BOOTTIME) < boot && now(CLOCK_MONOTONIC_RAW) < raw;
}
