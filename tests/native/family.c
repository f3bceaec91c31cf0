// family FILE EVENT: a thread, a child, a duplicate and a program after exec, each with the file that was opened first.
#include <pthread.h>
#include <sys/wait.h>

#include "user_events.h"

static int fd;

static void *thread(void *unused) {
    told("thread writes", write_number(fd, 0, 1));
    return unused;
}

int main(int argc, char **argv) {
    char text[256];
    uint32_t index;
    if (argc == 4) {  // after exec: the file is open still, the registration is gone with the memory
        fd = atoi(argv[3]);
        told("exec: unreg", unreg(fd, 31));
        told("exec writes", write_number(fd, 0, 4));
        return 0;
    }
    fd = open(argv[1], O_WRONLY);
    snprintf(text, sizeof text, "%s u32 number", argv[2]);
    told("reg", reg(fd, text, 31, 4, &index));
    told("await on", await(31, 1));
    pthread_t id;
    pthread_create(&id, NULL, thread, NULL);
    pthread_join(id, NULL);
    if (!fork()) {
        told("child: reg again", reg(fd, text, 31, 4, &index));
        told("child writes", write_number(fd, 0, 2));
        told("child: await off", await(31, 0));
        return 0;
    }
    int copy = dup(fd), status;
    close(fd);
    told("duplicate writes", write_number(copy, 0, 3));
    wait(&status);
    told("await off", await(31, 0));
    told("await on", await(31, 1));
    char number[16];
    snprintf(number, sizeof number, "%d", copy);
    execl(argv[0], argv[0], argv[1], argv[2], number, NULL);
    return 1;
}
