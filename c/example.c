/*
 * A week on a made-up phone, told to foretap; and the question at the next unlock: which apps come now?
 *
 *     cc -std=c99 -I include example.c -L FOLDER -lforetap_c -Wl,-rpath,FOLDER -o example
 *     ./example phone.foretap
 */
#include <stdio.h>

#include "foretap.h"

#define MINUTE 60
#define DAY (24 * 60 * MINUTE)
/* Monday, 2 March 2026, 7:00 in Paris. */
#define MORNING INT64_C(1772431200)

/* What happens every day, in minutes after seven. */
static const struct {
    int minute;
    foretap_signal signal;
    const char *app;
} habits[] = {
    {0, FORETAP_SIGNAL_UNLOCK, NULL},
    {0, FORETAP_SIGNAL_LAUNCH, "org.example.clock"},
    {1, FORETAP_SIGNAL_LAUNCH, "org.example.weather"},
    {3, FORETAP_SIGNAL_SCREEN_OFF, NULL},
    {40, FORETAP_SIGNAL_NOTIFICATION, "org.example.chat"},
    {41, FORETAP_SIGNAL_UNLOCK, NULL},
    {41, FORETAP_SIGNAL_LAUNCH, "org.example.chat"},
    {45, FORETAP_SIGNAL_SCREEN_OFF, NULL},
    {70, FORETAP_SIGNAL_UNLOCK, NULL},
    {70, FORETAP_SIGNAL_LAUNCH, "org.example.music"},
    {72, FORETAP_SIGNAL_SCREEN_OFF, NULL},
};
enum { HABITS = sizeof habits / sizeof *habits, DAYS = 7, SHOWN = 3 };

static int failed(const char *what) {
    fprintf(stderr, "cannot %s: %s\n", what, foretap_last_error());
    return 1;
}

static int observe(foretap_handle *phone, int64_t at, foretap_signal signal, const char *app) {
    /* What is not named is zero, and so not known: place, battery, network. */
    foretap_event event = {
        .at_utc_secs = at,
        .utc_offset_secs = 60 * MINUTE,
        .signal = signal,
        .app = app,
    };
    if (foretap_observe(phone, &event) != FORETAP_STATUS_OK) {
        return failed("observe an event");
    }
    /* While the screen is dark there is time to prepare the next answer. */
    if (signal == FORETAP_SIGNAL_SCREEN_OFF && foretap_prefill(phone) != FORETAP_STATUS_OK) {
        return failed("read ahead");
    }
    return 0;
}

static int observe_week(foretap_handle *phone) {
    int status = 0;
    for (int i = 0; i < DAYS * HABITS && status == 0; i++) {
        int64_t at = MORNING + (int64_t)(i / HABITS) * DAY + habits[i % HABITS].minute * MINUTE;
        status = observe(phone, at, habits[i % HABITS].signal, habits[i % HABITS].app);
    }
    return status;
}

static int unlock_and_ask(foretap_handle *phone, int64_t now) {
    foretap_suggestion apps[SHOWN];
    size_t count;
    double none_of_these;
    if (observe(phone, now, FORETAP_SIGNAL_UNLOCK, NULL) != 0) {
        return 1;
    }
    if (foretap_ask(phone, now, SHOWN, apps, &count, &none_of_these) != FORETAP_STATUS_OK) {
        return failed("ask");
    }
    for (size_t i = 0; i < count; i++) {
        printf("%zu. %-24s %5.1f %%\n", i + 1, apps[i].app, 100 * apps[i].probability);
    }
    printf("   %-24s %5.1f %%\n", "an app never opened yet", 100 * none_of_these);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "foretap %s\nusage: %s BUNDLE\n", foretap_version(), argv[0]);
        return 2;
    }
    foretap_handle *phone;
    if (foretap_open(argv[1], &phone) != FORETAP_STATUS_OK) {
        return failed("open the bundle");
    }
    int status = observe_week(phone);
    if (status == 0) {
        status = unlock_and_ask(phone, MORNING + DAYS * DAY);
    }
    foretap_close(phone);
    return status;
}
