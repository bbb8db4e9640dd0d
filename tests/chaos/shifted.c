/* SPDX-License-Identifier: Apache-2.0
 *
 * Shift the wall clock of a process, for tests: LD_PRELOAD this, and write the seconds as a 64-bit
 * integer into the file that SHIFT_FILE names. Other clocks stay as they are. libfaketime does far
 * more, and slows its process down so much that an edge under load sheds readers. No headers, so
 * that a compiler is all that is needed.
 */

typedef long time_t;
struct timespec { time_t sec; long nsec; };
struct timeval { time_t sec; long usec; };

extern char *getenv(const char *);
extern int open(const char *, int, ...);
extern void *mmap(void *, unsigned long, int, int, int, long);
extern long syscall(long, ...);

static long zero;
static volatile long *shift = &zero;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("SHIFT_FILE");
    int file = name ? open(name, 0) : -1;
    void *found = file < 0 ? (void *)-1 : mmap(0, 8, 1, 1, file, 0); /* PROT_READ, MAP_SHARED */
    if (found != (void *)-1) shift = found;
}

int clock_gettime(int clock, struct timespec *now) {
#ifdef __x86_64__
    long status = syscall(228, clock, now);
#else
    long status = syscall(113, clock, now); /* the number on arm64 and others of its age */
#endif
    if (status == 0 && (clock == 0 || clock == 5)) now->sec += *shift; /* REALTIME, its COARSE */
    return (int)status;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(0, &exact);
    now->sec = exact.sec;
    now->usec = exact.nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec exact;
    clock_gettime(0, &exact);
    if (at) *at = exact.sec;
    return exact.sec;
}
