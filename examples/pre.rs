use foretap::context::{Task, questions};
use foretap::data::simulate::*;
use foretap::ranker::Lesson;
use foretap::transformer::*;
use foretap::{Progress, Silent, baseline::Optimum, distill::*};
use std::sync::Arc;
struct P;
impl Progress for P {
    fn start(&self, w: &str, _: u64) {
        eprintln!("{w}");
    }
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn note(&self, l: &str) {
        println!("{l}");
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |n: &str, d: f64| a.iter().position(|x| x == n).map_or(d, |i| a[i + 1].parse().unwrap());
    let people = get("people", 60.) as usize;
    let sim = simulate(&SimulationConfig { people, seed: 1, ..Default::default() }, &Silent).unwrap();
    let fav: Arc<[foretap::data::AppId]> = (0..50).map(foretap::data::AppId).collect();
    let (mut ents, mut n) = (0.0, 0);
    let lessons: Vec<Lesson> = sim
        .log
        .users()
        .map(|events| {
            let q = questions(Task::FirstAfterUnlock, events);
            let nq = q.len();
            let (first, last) = (nq * 72 / 100, nq * 80 / 100);
            for x in &q[first..last] {
                let e = &events[x.asked_at];
                ents += sim.truth.first_after_unlock(e.user, e.at).unwrap().entropy();
                n += 1;
            }
            Lesson {
                events,
                train: 0..first,
                validation: if get("val", 1e9) as usize > 0 { first..last } else { 0..0 },
            }
        })
        .collect();
    println!("entropy of validation {}", ents / n as f64);
    let training = TrainingConfig {
        steps: 1_000_000,
        learning_rate: get("lr", 2e-3),
        dropout: get("dropout", 0.0) as f32,
        next_weight: get("next", 0.1) as f32,
        validate_every: get("every", 1000.) as u64,
        report_every: 200,
        clip_norm: 1.0,
        weight_decay: get("wd", 0.05),
        warmup_steps: 300,
        patience: 100,
        ..Default::default()
    };
    let recipe = Recipe {
        size: if get("size", 0.) > 0. { Size::Teacher } else { Size::Student },
        training,
        epochs: get("epochs", 3.),
        batch_tokens: get("batch", 1024.) as usize,
        unknown_share: get("unknown", 0.25),
        ..Default::default()
    };
    let course = Course {
        task: Task::FirstAfterUnlock,
        vocabulary: &sim.vocabulary,
        favourites: &fav,
        lessons: &lessons,
        teacher: None,
    };
    let optimum = Optimum { truth: &sim.truth };
    let config = DistillConfig { temperature: 1.0, teacher_weight: get("soft", 1.0), recipe };
    let t = std::time::Instant::now();
    let (m, trained) = distill(
        &config,
        &optimum,
        &course,
        None,
        &mut Native::new(),
        Some(&RunFolder::open(&a[1]).unwrap()),
        &P,
    )
    .unwrap();
    m.save(&std::path::Path::new(&a[1]).join("model.safetensors"), Precision::F32).unwrap();
    println!("{:?} steps {} best {} {:?}", trained.validation, trained.steps, trained.best_step, t.elapsed());
}
