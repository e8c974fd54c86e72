/* The peer of the lane bench: an epoll server that reads lines and answers each with the same fixed line.
 *
 *   lane_server ANSWER_FILE SOCKET...
 *
 * One thread, level-triggered, one read and one write for each turn of a connection: as little as a server on these sockets can do.
 * Ends with its parent. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 16, EVENTS = 64, FDS = 1024, BACKLOG = 64 };

static char answer[LINE_MAX_BYTES], in[LINE_MAX_BYTES], out[16 * LINE_MAX_BYTES];
static char listens[FDS];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= FDS || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

static void serve(int fd, size_t answer_bytes) {
    ssize_t count = read(fd, in, sizeof in);
    size_t lines = 0;
    if (count <= 0) {
        close(fd);
        return;
    }
    for (char *end = in; (end = memchr(end, '\n', in + count - end)); end++) {
        if ((lines + 1) * answer_bytes > sizeof out) die("too many lines at once");
        memcpy(out + lines++ * answer_bytes, answer, answer_bytes);
    }
    if (lines && write(fd, out, lines * answer_bytes) < 0) close(fd);
}

int main(int count, char **words) {
    if (count < 3) return 2;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    int file = open(words[1], O_RDONLY);
    ssize_t answer_bytes = file < 0 ? -1 : read(file, answer, sizeof answer);
    if (answer_bytes <= 0) die(words[1]);
    int epoll = epoll_create1(0);
    for (int i = 2; i < count; i++) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        strncpy(name.sun_path, words[i], sizeof name.sun_path - 1);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) < 0 || listen(fd, BACKLOG) < 0) die(words[i]);
        watch(epoll, fd);
        listens[fd] = 1;
    }
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (!listens[fd]) {
                serve(fd, answer_bytes);
                continue;
            }
            int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
            if (peer >= 0) watch(epoll, peer);
        }
    }
}
