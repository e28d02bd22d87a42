/*
 * For example.rs: lives through made-up events and saves whenever the screen goes dark. Killed at any moment and run again,
 * it goes on after the last save. An answer is a line: when it was asked, and its probabilities to the last bit.
 */
#include <stdio.h>

#include "foretap.h"

enum { QUESTIONS = 300, APPS = 7, CANDIDATES = 3 };
#define MORNING INT64_C(1772431200)

static int failed(const char *what) {
    fprintf(stderr, "cannot %s: %s\n", what, foretap_last_error());
    return 1;
}

int main(int argc, char **argv) {
    foretap_handle *phone;
    if (argc != 3 || foretap_open(argv[1], &phone) != FORETAP_STATUS_OK) {
        return failed("open the bundle");
    }
    FILE *saved = fopen(argv[2], "rb");
    if (saved != NULL) {
        fclose(saved);
        if (foretap_restore(phone, argv[2], NULL) != FORETAP_STATUS_OK) {
            return failed("restore");
        }
    }
    int64_t last;
    if (foretap_last_event(phone, &last) != FORETAP_STATUS_OK) {
        return failed("look at the last event");
    }
    static const char *const apps[APPS] = {"chat", "mail", "maps", "music", "news", "notes", "clock"};
    static const foretap_signal signals[] = {FORETAP_SIGNAL_UNLOCK, FORETAP_SIGNAL_LAUNCH, FORETAP_SIGNAL_SCREEN_OFF};
    for (int i = 0; i < 3 * QUESTIONS; i++) {
        int question = i / 3;
        foretap_event event = {
            .at_utc_secs = MORNING + INT64_C(1800) * question + i % 3,
            .signal = signals[i % 3],
            .app = apps[(question % 3 + question % 5 + question / 40) % APPS],
        };
        if (event.at_utc_secs <= last) {
            continue;
        }
        if (foretap_observe(phone, &event) != FORETAP_STATUS_OK) {
            return failed("observe");
        }
        if (event.signal == FORETAP_SIGNAL_UNLOCK) {
            foretap_candidate answer[CANDIDATES];
            size_t count;
            double none;
            if (foretap_ask(phone, event.at_utc_secs, CANDIDATES, answer, &count, &none) != FORETAP_STATUS_OK) {
                return failed("ask");
            }
            printf("%d %a", question, none);
            for (size_t j = 0; j < count; j++) {
                printf(" %s %a", answer[j].app, answer[j].probability);
            }
            printf("\n");
            fflush(stdout);
        }
        if (event.signal == FORETAP_SIGNAL_SCREEN_OFF && foretap_save(phone, argv[2], NULL) != FORETAP_STATUS_OK) {
            return failed("save");
        }
    }
    foretap_close(phone);
    return 0;
}
