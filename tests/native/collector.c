// collector TREE SYSTEM EVENT COUNT: what a program of libtracefs does: list, enable, read raw events until there are
// COUNT, decode their first field, disable.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tracefs.h>

static const char *event_name;
static int found, wanted;

static int take(struct tep_event *event, struct tep_record *record, int cpu, void *unused) {
    unsigned long long value;
    (void)cpu, (void)unused;
    if (strcmp(event->name, event_name))
        return 0;
    if (tep_get_field_val(NULL, event, "number", record, &value, 1))
        return -1;
    if (!found++)
        printf("first: %s\n", value ? "a number" : "zero");
    return found >= wanted;
}

static void list(char **names, const char *wanted_name, const char *what) {
    int seen = 0;
    for (int i = 0; names && names[i]; i++)
        seen += !strcmp(names[i], wanted_name);
    printf("%s: %d\n", what, seen);
    tracefs_list_free(names);
}

int main(int argc, char **argv) {
    if (argc != 5 || tracefs_set_tracing_dir(argv[1]))
        return 2;
    event_name = argv[3];
    wanted = atoi(argv[4]);
    list(tracefs_event_systems(NULL), argv[2], "system");
    list(tracefs_system_events(NULL, argv[2]), argv[3], "event");
    printf("enable: %d\n", tracefs_event_enable(NULL, argv[2], argv[3]));
    struct tep_handle *tep = tracefs_local_events(NULL);
    if (!tep)
        return printf("no events are read\n"), 1;
    for (int turn = 0; found < wanted && turn < 1000; turn++) {
        tracefs_iterate_raw_events(tep, NULL, NULL, 0, take, NULL);
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    printf("found: %d\n", found >= wanted);
    printf("disable: %d\n", tracefs_event_disable(NULL, argv[2], argv[3]));
    struct tracefs_instance *instance = tracefs_instance_create("collected");
    printf("instance: %d\n", instance && tracefs_instance_is_new(instance));
    printf("clock: %d\n", tracefs_instance_file_write(instance, "trace_clock", "mono") > 0 ? 0 : -1);
    printf("destroy: %d\n", tracefs_instance_destroy(instance));
    tep_free(tep);
    return 0;
}
