/*
 * A made-up phone's week: events are observed, each unlock is asked about, what is shown gets its feedback, and the person
 * is saved whenever the screen goes dark; at the end the phone learns from what it kept. Run it again, and the person is
 * restored and the next week follows.
 *
 *     cc -std=c99 -I include example.c -L FOLDER -lforetap_c -Wl,-rpath,FOLDER -o example
 *     ./example phone.foretap person
 */
#include <stdio.h>
#include <string.h>

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

/* On a phone: from its key store, and another one on each. NULL saves a plain file. */
static const uint8_t key[FORETAP_KEY_BYTES] = "an example's key is no secret..";

static int failed(const char *what) {
    fprintf(stderr, "cannot %s: %s\n", what, foretap_last_error());
    return 1;
}

/* What was shown last, until the next launch tells what became of it. */
typedef struct {
    foretap_suggestion suggestion;
    int shown, right;
} screen;

static int give_feedback(foretap_handle *phone, screen *screen, const char *opened) {
    const foretap_suggestion *suggestion = &screen->suggestion;
    if (suggestion->count == 0) {
        return 0;
    }
    const char *taken = NULL;
    for (size_t i = 0; i < suggestion->count; i++) {
        if (strcmp(suggestion->apps[i].app, opened) == 0) {
            taken = opened;
        }
    }
    screen->right += taken != NULL;
    if (foretap_feedback(phone, suggestion->id, taken) != FORETAP_STATUS_OK) {
        return failed("give feedback");
    }
    screen->suggestion.count = 0;
    return 0;
}

/* One event, and what a phone does at it. */
static int live(foretap_handle *phone, screen *screen, const char *file, int64_t at, foretap_signal signal,
                const char *app) {
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
    if (signal == FORETAP_SIGNAL_UNLOCK) {
        foretap_candidate apps[SHOWN];
        size_t count;
        if (foretap_ask(phone, at, SHOWN, apps, &count, NULL) != FORETAP_STATUS_OK ||
            foretap_suggest(phone, &screen->suggestion) != FORETAP_STATUS_OK) {
            return failed("ask");
        }
        screen->shown += screen->suggestion.count > 0;
    }
    if (signal == FORETAP_SIGNAL_LAUNCH) {
        return give_feedback(phone, screen, app);
    }
    /* While the screen is dark there is time to save, and to prepare the next answer. */
    if (signal == FORETAP_SIGNAL_SCREEN_OFF) {
        if (foretap_save(phone, file, key) != FORETAP_STATUS_OK) {
            return failed("save the person");
        }
        if (foretap_prefill(phone) != FORETAP_STATUS_OK) {
            return failed("prefill");
        }
    }
    return 0;
}

/* The days from the one after `last` on; returns the morning after them, or 0 if something failed. */
static int64_t live_week(foretap_handle *phone, const char *file, int64_t last) {
    screen screen = {.shown = 0};
    int64_t first = MORNING;
    while (first <= last) {
        first += DAY;
    }
    for (int i = 0; i < DAYS * HABITS; i++) {
        int64_t at = first + (int64_t)(i / HABITS) * DAY + habits[i % HABITS].minute * MINUTE;
        if (live(phone, &screen, file, at, habits[i % HABITS].signal, habits[i % HABITS].app) != 0) {
            return 0;
        }
    }
    printf("apps were shown at %d of %d unlocks, the right one among them at %d\n", screen.shown, 3 * DAYS,
           screen.right);
    return first + DAYS * DAY;
}

static int ask(foretap_handle *phone, int64_t now) {
    foretap_candidate apps[SHOWN];
    size_t count;
    double none_of_these;
    foretap_event unlock = {.at_utc_secs = now, .utc_offset_secs = 60 * MINUTE, .signal = FORETAP_SIGNAL_UNLOCK};
    if (foretap_observe(phone, &unlock) != FORETAP_STATUS_OK ||
        foretap_ask(phone, now, SHOWN, apps, &count, &none_of_these) != FORETAP_STATUS_OK) {
        return failed("ask");
    }
    for (size_t i = 0; i < count; i++) {
        printf("%zu. %-24s %5.1f %%\n", i + 1, apps[i].app, 100 * apps[i].probability);
    }
    printf("   %-24s %5.1f %%\n", "an app never opened yet", 100 * none_of_these);
    return 0;
}

/* On a phone: each night, on a thread of its own, while it is charged. */
static int learn(foretap_handle *phone, const char *file) {
    foretap_learning learning;
    foretap_status status = foretap_learn(phone, 30, &learning);
    /* Without the feature, and where it took too long, the phone answers as before. */
    if (status == FORETAP_STATUS_NOT_BUILT || status == FORETAP_STATUS_CANCELLED) {
        return 0;
    }
    if (status != FORETAP_STATUS_OK) {
        return failed("learn");
    }
    if (learning.outcome == FORETAP_LEARN_OUTCOME_LEARNED && foretap_save(phone, file, key) != FORETAP_STATUS_OK) {
        return failed("save what was learned");
    }
    return 0;
}

static int run(foretap_handle *phone, const char *file) {
    const char *reason;
    int64_t last;
    if (foretap_degraded(phone, &reason) != FORETAP_STATUS_OK) {
        return failed("look at the bundle");
    }
    if (reason != NULL) {
        fprintf(stderr, "%s\n", reason);
    }
    /* Of a new person, the last events are kept to learn from; whoever is restored brings them along. */
    if (foretap_keep_events(phone, 20000) != FORETAP_STATUS_OK) {
        return failed("keep events");
    }
    /* Without a file the phone is new; with one that cannot be read, better ask than begin anew. */
    FILE *saved = fopen(file, "rb");
    if (saved != NULL) {
        fclose(saved);
        if (foretap_restore(phone, file, key) != FORETAP_STATUS_OK) {
            return failed("restore the person");
        }
    }
    /* On a phone: now observe what the system's log has since then. */
    if (foretap_last_event(phone, &last) != FORETAP_STATUS_OK) {
        return failed("look at the last event");
    }
    int64_t morning = live_week(phone, file, last);
    return morning == 0 || learn(phone, file) != 0 ? 1 : ask(phone, morning);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "foretap %s\nusage: %s BUNDLE PERSON\n", foretap_version(), argv[0]);
        return 2;
    }
    foretap_handle *phone;
    if (foretap_open(argv[1], &phone) != FORETAP_STATUS_OK) {
        return failed("open the bundle");
    }
    int status = run(phone, argv[2]);
    foretap_close(phone);
    return status;
}
