// victim TREE read|write|ioctl|poll: make that call on files of the tree again and again; at its first failure print errno.
#include <poll.h>

#include "user_events.h"

static int open_in(const char *tree, const char *name, int flags) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    return open(path, flags);
}

// One call; -1 with errno once the server is gone. An event that nobody listens to is no failure.
static int call(const char *kind, int fd, const char *tree) {
    char buffer[4096];
    uint32_t index;
    if (!strcmp(kind, "read"))
        return read(fd, buffer, sizeof buffer) > 0 ? 0 : -1;
    if (!strcmp(kind, "write"))
        return write_number(fd, 0, 1) < 0 && errno != EBADF ? -1 : 0;
    if (!strcmp(kind, "ioctl"))
        return reg(fd, "ioctls u32 number", 5, 4, &index) || unreg(fd, 5) ? -1 : 0;
    struct pollfd polled = {fd, POLLIN, 0};
    poll(&polled, 1, -1);
    fd = open_in(tree, "tracing_on", O_RDONLY);
    return fd < 0 ? -1 : close(fd);
}

int main(int argc, char **argv) {
    uint32_t index;
    if (argc != 3)
        return 2;
    int reads = !strcmp(argv[2], "read") || !strcmp(argv[2], "poll");
    int fd = open_in(argv[1], reads ? "trace_pipe" : "user_events_data", reads ? O_RDONLY : O_WRONLY);
    if (fd < 0 || (!reads && reg(fd, "victim u32 number", 0, 4, &index)))
        return 1;
    told("begins", 0);
    while (!call(argv[2], fd, argv[1]))
        ;
    printf("ends: %d\n", errno);
    return 0;
}
