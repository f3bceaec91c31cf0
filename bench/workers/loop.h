/* How a peer in C is measured: as bench/workers/loop.py, the same words over the same pipes. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#ifndef BENCH_CLOCK
#define BENCH_CLOCK CLOCK_THREAD_CPUTIME_ID
#endif

struct bench_case {
	const char *name;
	void (*run)(long count);
};

static void bench_empty(long count)
{
	for (long number = 0; number < count; number++)
		__asm__ volatile("");
}

static uint64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(BENCH_CLOCK, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int bench_serve(const struct bench_case *cases)
{
	char line[128];

	printf("ready\tempty");
	for (const struct bench_case *at = cases; at->name; at++)
		printf("\t%s", at->name);
	putchar('\n');
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		char *tab = strchr(line, '\t');
		long count = 0, chunks = 1;
		void (*run)(long) = bench_empty;

		if (!tab || sscanf(tab + 1, "%ld %ld", &count, &chunks) < 1)
			return 2;
		*tab = 0;
		for (const struct bench_case *at = cases; at->name; at++)
			if (!strcmp(at->name, line))
				run = at->run;
		if (!strcmp(line, "facts")) {
			puts("");
		} else {
			for (long chunk = 0; chunk < chunks; chunk++) {
				uint64_t start = bench_now(), middle;

				bench_empty(count);
				middle = bench_now();
				run(count);
				printf("%lld ", (long long)(bench_now() - middle) - (long long)(middle - start));
			}
			putchar('\n');
		}
		fflush(stdout);
	}
	return 0;
}
