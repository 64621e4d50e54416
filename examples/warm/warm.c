// A warm command in C: cc -O2 -o warm warm.c && understudy run --warm --role scheduler -- ./warm
//
// It reads its page before each step, so it also stops in time where the process that would tell it to does
// not run. docs/warm.md says what stands there.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "page.h"

int main(void) {
	int socket = atoi(getenv("UNDERSTUDY_SOCKET"));
	struct page *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, atoi(getenv("UNDERSTUDY_PAGE")), 0);
	if (p == MAP_FAILED || p->format != page_format) return 1;
	FILE *lines = fdopen(socket, "r");
	setvbuf(lines, NULL, _IONBF, 0); // so that poll sees what is left to read
	dprintf(socket, "READY=1\n");
	unsigned long long token = 0;
	for (char line[256];;) {
		struct pollfd ready = {.fd = socket, .events = POLLIN};
		if (poll(&ready, 1, 100) == 0) {
			if (may_work(p, token)) dprintf(1, "token %llu: %s works\n", token, getenv("UNDERSTUDY_ID"));
			continue;
		}
		if (fgets(line, sizeof line, lines) == NULL || strcmp(line, "stop\n") == 0) return 0;
		if (sscanf(line, "active token=%llu", &token) != 1 && token != 0) { // standby
			dprintf(socket, "IDLE=%llu\n", token);
			token = 0;
		}
	}
}
