// threads FILE EVENT COUNT WRITES: so many threads with one file, each with an event of its own: EVENT0, EVENT1, ...
#include <pthread.h>

#include "user_events.h"

static int fd, writes;
static const char *event;
static long written[32];

static void *thread(void *number) {
    int bit = (int)(intptr_t)number;
    char text[256];
    uint32_t index;
    snprintf(text, sizeof text, "%s%d u32 number", event, bit);
    if (reg(fd, text, bit, 4, &index) || await(bit, 1))
        return NULL;
    for (int i = 0; i < writes; i++)
        written[bit] += write_number(fd, index, i) == 8;
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t ids[32];
    if (argc != 5)
        return 2;
    int count = atoi(argv[3]);
    writes = atoi(argv[4]);
    event = argv[2];
    fd = open(argv[1], O_WRONLY);
    for (int i = 0; i < count; i++)
        pthread_create(&ids[i], NULL, thread, (void *)(intptr_t)i);
    for (int i = 0; i < count; i++)
        pthread_join(ids[i], NULL);
    for (int i = 0; i < count; i++)
        printf("thread %d: %ld\n", i, written[i]);
    return 0;
}
