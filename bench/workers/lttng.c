/* An LTTng-UST tracepoint called from C. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "loop.h"

#include "lttng_tp.h"

static void emit(long count)
{
	for (long number = 0; number < count; number++)
		lttng_ust_tracepoint(bench, event, (uint32_t)number, (uint64_t)number, "hello world!");
}

int main(void)
{
	static const struct bench_case cases[] = {{"tracepoint", emit}, {0}};

	return bench_serve(cases);
}
