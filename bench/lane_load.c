/* The load of the lane bench: lanes that send lines and wait for the answer to each, one outstanding per connection.
 *
 *   lane_load SECONDS PER_SECOND OUT TIMES SOCKET LINES [SOCKET LINES]...
 *
 * For each pair TIMES connections are opened. A LINES file holds one request a line; its first line is the greeting, which is not
 * counted, the others are sent round and round from a different place on each connection, or once where TIMES is 0 (one connection, and
 * the run ends when a file is used up). PER_SECOND 0: the next line follows the answer at once.
 *
 * OUT gets, for each answer, two unsigned 64-bit numbers: the number of its pair, and nanoseconds. A paced request counts from when it
 * was due, if the answer to the one before came later than that: a server that stalls is not spared what it kept waiting. If this
 * program itself was late, it counts from the sending. The last words on standard output: answers, and nanoseconds from the first
 * request to the last answer. An answer that has no result ends the run with a message. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LANES_MAX = 256, ANSWER_MAX = 1 << 20, HEAD = 200 };

struct lines {
    char *text, **begin;
    size_t count;
};
struct lane {
    int fd, pair, waits;
    struct lines *lines;
    size_t next, sent, got;
    int64_t due, since;
    char head[HEAD];
};

static struct lane lanes[LANES_MAX];
static struct lines files[LANES_MAX];
static char answer[ANSWER_MAX];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void load(struct lines *lines, const char *path) {
    struct stat about;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &about) < 0) die(path);
    lines->text = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (lines->text == MAP_FAILED) die(path);
    char *end = lines->text + about.st_size;
    for (char *at = lines->text; at < end; at++) lines->count += *at == '\n';
    lines->begin = calloc(lines->count + 1, sizeof *lines->begin);
    size_t number = 0;
    for (char *at = lines->text; at < end; at = (char *)memchr(at, '\n', end - at) + 1) lines->begin[number++] = at;
    lines->begin[number] = end;
}

static void say(struct lane *lane, size_t number) {
    char *begin = lane->lines->begin[number];
    size_t size = lane->lines->begin[number + 1] - begin;
    lane->got = 0;
    lane->waits = 1;
    if (write(lane->fd, begin, size) != (ssize_t)size) die("write");
}

/* True when the answer is whole. */
static int hear(struct lane *lane) {
    ssize_t count = read(lane->fd, answer, sizeof answer);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) die("the server hung up");
    for (ssize_t i = 0; i < count && lane->got + i < HEAD - 1; i++) lane->head[lane->got + i] = answer[i];
    lane->got += count;
    if (answer[count - 1] != '\n') return 0;
    lane->head[lane->got < HEAD ? lane->got : HEAD - 1] = 0;
    if (!strstr(lane->head, "\"result\"")) {
        fprintf(stderr, "no result: %s\n", lane->head);
        exit(1);
    }
    lane->waits = 0;
    return 1;
}

static void open_lane(struct lane *lane, int pair, const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    lane->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (lane->fd < 0 || connect(lane->fd, (struct sockaddr *)&name, sizeof name) < 0) die(path);
    lane->lines = &files[pair];
    lane->pair = pair;
    say(lane, 0);
    while (!hear(lane)) continue;
    fcntl(lane->fd, F_SETFL, O_NONBLOCK);
}

int main(int count, char **words) {
    if (count < 7 || count % 2 == 0) return 2;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);
    int64_t length = atof(words[1]) * 1e9, period = atof(words[2]) > 0 ? 1e9 / atof(words[2]) : 0;
    FILE *out = fopen(words[3], "wb");
    int times = atoi(words[4]), once = times == 0, number = 0, epoll = epoll_create1(0);
    if (!out) die(words[3]);
    for (int pair = 0; pair < (count - 5) / 2; pair++) {
        load(&files[pair], words[6 + 2 * pair]);
        for (int i = 0; i < (once ? 1 : times); i++, number++) {
            if (number == LANES_MAX) return 2;
            open_lane(&lanes[number], pair, words[5 + 2 * pair]);
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, lanes[number].fd, &event) < 0) die("epoll_ctl");
        }
    }
    int64_t begin = now(), last = begin;
    uint64_t answers = 0;
    for (int i = 0; i < number; i++) {
        struct lane *lane = &lanes[i];
        size_t start = once ? 0 : (lane->lines->count - 1) * i / number;
        lane->next = 1 + start;
        lane->due = begin + (period ? period * i / number : 0);
    }
    int used_up = 0, open = 0;
    for (;;) {
        int64_t at = now(), wake = INT64_MAX;
        int over = at - begin >= length || used_up;
        for (int i = 0; i < number; i++) {
            struct lane *lane = &lanes[i];
            if (lane->waits || over) continue;
            if (lane->due > at) {
                if (lane->due < wake) wake = lane->due;
                continue;
            }
            int64_t from = now();
            lane->since = period && lane->since > lane->due ? lane->due : from; /* since: when the last answer came */
            say(lane, lane->next++);
            open++;
            if (lane->next == lane->lines->count) {
                lane->next = 1;
                used_up |= once;
            }
            lane->due = period ? lane->due + period : 0;
        }
        if (over && !open) break;
        struct epoll_event events[64];
        int64_t left = wake == INT64_MAX ? 1000000000 : wake - now();
        struct timespec most = {.tv_sec = 0, .tv_nsec = left < 0 ? 0 : left > 999999999 ? 999999999 : left};
        int ready = epoll_pwait2(epoll, events, 64, &most, NULL);
        if (ready < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < ready; i++) {
            struct lane *lane = &lanes[events[i].data.u32];
            if (!hear(lane)) continue;
            last = now();
            uint64_t record[2] = {lane->pair, last - lane->since};
            fwrite(record, sizeof record, 1, out);
            lane->since = last;
            answers++;
            open--;
        }
    }
    fclose(out);
    printf("%llu %lld\n", (unsigned long long)answers, (long long)(last - begin));
    return 0;
}
