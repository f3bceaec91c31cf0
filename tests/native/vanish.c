// vanish FILE TURNS: register and unregister in a page that another thread takes away and gives back all the time.
#include <pthread.h>
#include <sys/mman.h>

#include "user_events.h"

static char *page;
static volatile int done;

static void *flicker(void *unused) {
    while (!done) {
        munmap(page, 4096);
        mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        strcpy(page + 256, "vanishing u32 number");
        mprotect(page, 4096, PROT_READ);
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
    }
    return unused;
}

int main(int argc, char **argv) {
    pthread_t id;
    int seen[256] = {0};
    if (argc != 3)
        return 2;
    int fd = open(argv[1], O_WRONLY), turns = atoi(argv[2]);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_create(&id, NULL, flicker, NULL);
    for (int turn = 0; turn < turns; turn++) {
        struct user_reg call = {sizeof call, turn % 32, 4, 0, (uintptr_t)page, (uintptr_t)page + 256, 0};
        struct user_unreg back = {sizeof back, turn % 32, 0, 0, (uintptr_t)page};
        seen[ioctl(fd, DIAG_IOCSREG, &call) ? errno & 255 : 0]++;
        seen[ioctl(fd, DIAG_IOCSUNREG, &back) ? errno & 255 : 0]++;
    }
    done = 1;
    pthread_join(id, NULL);
    for (int number = 0; number < 256; number++)
        if (seen[number])
            printf("%s ", number ? strerrorname_np(number) : "0");
    puts("");
    return 0;
}
