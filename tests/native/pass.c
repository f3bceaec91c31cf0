// pass FILE EVENT: one process opens the file, another one, that got it over a socket, registers and writes.
#include <sys/socket.h>
#include <sys/wait.h>

#include "user_events.h"

static void send_fd(int channel, int fd) {
    char byte = 0, control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    sendmsg(channel, &message, 0);
}

static int receive_fd(int channel) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int fd = -1;
    if (recvmsg(channel, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

int main(int argc, char **argv) {
    int ends[2], status;
    uint32_t index;
    char text[256];
    if (argc != 3 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return 2;
    snprintf(text, sizeof text, "%s u32 number", argv[2]);
    if (!fork()) {
        int fd = receive_fd(ends[1]);
        told("reg", reg(fd, text, 63, 8, &index));
        told("await on", await(63, 1));
        told("write", write_number(fd, 0, 1));
        told("await off", await(63, 0));
        return 0;
    }
    int fd = open(argv[1], O_RDWR);
    send_fd(ends[0], fd);
    wait(&status);
    told("opener: unreg", unreg(fd, 63));
    told("opener's word", enabled);
    return 0;
}
