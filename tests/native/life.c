// life FILE EVENT BIT SIZE: register, write when enabled in one and in many vectors, unregister when disabled, delete.
#include <poll.h>

#include "user_events.h"

static long write_vectors(int fd, uint32_t index, int count) {
    struct iovec vectors[1024];
    unsigned char byte = 'v';
    vectors[0] = (struct iovec){&index, sizeof index};
    for (int i = 1; i < count; i++)
        vectors[i] = (struct iovec){&byte, 1};
    return writev(fd, vectors, count);
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    char text[256];
    int bit = atoi(argv[3]), size = atoi(argv[4]), fd = open(argv[1], O_WRONLY);
    uint32_t index = 99;
    snprintf(text, sizeof text, "%s u32 number", argv[2]);
    told("open", fd < 0 ? -1 : 0);
    if (fd < 0)
        return 1;
    struct pollfd polled = {fd, POLLIN | POLLOUT, 0};
    told("poll", poll(&polled, 1, 0) < 0 ? -1 : polled.revents);
    told("reg", reg(fd, text, bit, size, &index));
    told("index", index);
    told("reg again", reg(fd, text, bit, size, &index));
    told("write", write_number(fd, 0, 1));
    told("await on", await(bit, 1));
    told("write", write_number(fd, 0, 2));
    told("write unknown", write_number(fd, 7, 3));
    for (const int *count = (int[]){1, 7, 40, 300, 0}; *count; count++)
        told("writev", write_vectors(fd, 0, *count));
    told("await off", await(bit, 0));
    told("unreg", unreg(fd, bit));
    told("unreg again", unreg(fd, bit));
    told("del", ioctl(fd, DIAG_IOCSDEL, argv[2]));
    close(fd);
    fd = open(argv[1], O_RDWR);
    int deleted = -1;  // what held it goes a moment after the close
    for (int turn = 0; turn < 1000 && (deleted = ioctl(fd, DIAG_IOCSDEL, argv[2])) < 0 && errno == EBUSY; turn++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    told("deleted", deleted < 0 && errno != ENOENT ? -1 : 0);
    return 0;
}
