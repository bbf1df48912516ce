//! What is known of a cluster, and which groups of targets change with it.

use std::collections::{HashMap, HashSet};

use firesteel_config::{KubernetesAttach, KubernetesRole};

use super::{
    groups::{self, SERVICE_NAME, Surroundings},
    objects::{
        EndpointSlice, Endpoints, Ingress, MetaOnly, Node, Object, Owned, Pod, Service, TargetRef,
    },
    reflector::Change,
    store::Store,
};
use crate::{DiscoveryMetrics, TargetGroup};

/// What a reflector tells, by the kind of its objects.
#[derive(Debug)]
pub(crate) enum Event {
    Nodes(Change<Node>),
    Pods(Change<Pod>),
    Services(Change<Service>),
    Endpoints(Change<Endpoints>),
    Slices(Change<EndpointSlice>),
    Ingresses(Change<Ingress>),
    NodeMetas(Change<MetaOnly>),
    Namespaces(Change<MetaOnly>),
    ReplicaSets(Change<Owned>),
    Jobs(Change<Owned>),
}

/// One reflector's progress.
#[derive(Debug, Default)]
struct Progress {
    /// The namespace whose groups wait for it; empty where all do.
    namespace: String,
    /// Keys of the list under way.
    listed: HashSet<String>,
    /// Whether everything has been listed once.
    synced: bool,
}

/// Everything that one discoverer knows.
#[derive(Debug)]
pub(crate) struct State {
    role: KubernetesRole,
    nodes: Store<Node>,
    endpoints: Store<Endpoints>,
    slices: Store<EndpointSlice>,
    ingresses: Store<Ingress>,
    around: Surroundings,
    reflectors: Vec<Progress>,
    /// Keys of objects whose groups have to be made again.
    dirty: HashSet<String>,
    changed: Neighbours,
    /// Whether anything was ever handed out.
    spoken: bool,
}

/// Keys of objects that have changed and that groups of other objects tell of.
#[derive(Debug, Default)]
struct Neighbours {
    pods: HashSet<String>,
    services: HashSet<String>,
    nodes: HashSet<String>,
    namespaces: HashSet<String>,
    owners: HashSet<String>,
}

impl Neighbours {
    fn is_empty(&self) -> bool {
        [&self.pods, &self.services, &self.nodes, &self.namespaces, &self.owners]
            .iter()
            .all(|keys| keys.is_empty())
    }
}

/// What a change did to an object: its key, and how Prometheus counts the event.
type Effect = (String, &'static str);

impl Progress {
    /// Brings a change into a store. `differs` says whether an object that replaces another makes a
    /// difference to labels.
    fn apply<T: Object>(
        &mut self,
        store: &mut Store<T>,
        change: Change<T>,
        differs: impl Fn(&T, &T) -> bool,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut put = |object: T, store: &mut Store<T>| {
            let key = object.key();
            let known = store.contains(&key);
            let same = store.get(&key).is_some_and(|old| {
                // A list that is asked for anew holds much that was known.
                let version = old.version();
                (!version.is_empty() && version == object.version()) || !differs(old, &object)
            });
            store.insert(key.clone(), object);
            effects.push((
                key,
                if !known {
                    "add"
                } else if same {
                    "same"
                } else {
                    "update"
                },
            ));
        };
        match change {
            Change::Page(objects) => {
                for object in objects {
                    self.listed.insert(object.key());
                    put(object, store);
                }
            }
            Change::Put(object) => put(*object, store),
            Change::Deleted(key) => {
                if store.remove(&key) {
                    effects.push((key, "delete"));
                }
            }
            Change::Restarted => self.listed.clear(),
            Change::Listed => {
                let listed = std::mem::take(&mut self.listed);
                let prefix = format!("{}/", self.namespace);
                let ours = |key: &str| self.namespace.is_empty() || key.starts_with(&prefix);
                for key in store.missing(&listed, ours) {
                    store.remove(&key);
                    effects.push((key, "delete"));
                }
                self.synced = true;
            }
        }
        effects
    }
}

impl State {
    /// Knows nothing yet. `namespaces` are those of the reflectors, one each, in the order of their
    /// ids.
    pub(crate) fn new(
        role: KubernetesRole,
        attach: KubernetesAttach,
        namespaces: impl IntoIterator<Item = String>,
    ) -> Self {
        // Nobody asks for these again once their groups are made.
        let any_attached =
            attach.node || attach.namespace || attach.deployment || attach.job || attach.cronjob;
        let keep = any_attached
            || matches!(role, KubernetesRole::Endpoints | KubernetesRole::EndpointSlice);
        let progress = |namespace| Progress { namespace, ..Progress::default() };
        Self {
            role,
            nodes: Store::of_keys(),
            endpoints: Store::default(),
            slices: Store::default(),
            ingresses: if keep { Store::default() } else { Store::of_keys() },
            around: Surroundings {
                pods: if keep { Store::default() } else { Store::of_keys() },
                services: if keep { Store::default() } else { Store::of_keys() },
                nodes: attach.node.then(Store::default),
                namespaces: attach.namespace.then(Store::default),
                replica_sets: attach.deployment.then(Store::default),
                jobs: attach.cronjob.then(Store::default),
                with_job: attach.job,
                with_cronjob: attach.cronjob,
            },
            reflectors: namespaces.into_iter().map(progress).collect(),
            dirty: HashSet::new(),
            changed: Neighbours::default(),
            spoken: false,
        }
    }

    /// Takes in what a reflector tells. Groups of objects that are not kept are made at once.
    pub(crate) fn apply(
        &mut self,
        reflector: usize,
        event: Event,
        metrics: &DiscoveryMetrics,
        made: &mut HashMap<String, TargetGroup>,
    ) {
        let Some(progress) = self.reflectors.get_mut(reflector) else { return };
        let metas = |a: &MetaOnly, b: &MetaOnly| {
            a.metadata.labels != b.metadata.labels
                || a.metadata.annotations != b.metadata.annotations
        };
        let owners = |_: &Owned, _: &Owned| false;
        let around = &mut self.around;
        let count = |role: &str, effects: &[Effect]| {
            for (_, event) in effects {
                metrics.kubernetes.event(role, if *event == "same" { "update" } else { event });
            }
        };
        let keys = |effects: Vec<Effect>| {
            effects.into_iter().filter(|(_, event)| *event != "same").map(|(key, _)| key)
        };
        match event {
            Event::Nodes(change) => {
                each(&change, |node: &Node| {
                    made.extend(groups::node(node).map(|group| (node.key(), group)));
                });
                let effects = progress.apply(&mut self.nodes, change, any);
                count("node", &effects);
                self.dirty.extend(keys(effects));
            }
            Event::Pods(change) if self.role == KubernetesRole::Pod => {
                if !around.pods.keeps_objects() {
                    each(&change, |pod: &Pod| {
                        made.insert(pod.key(), groups::pod(pod, around));
                    });
                }
                let effects = progress.apply(&mut around.pods, change, any);
                count("pod", &effects);
                self.dirty.extend(keys(effects));
            }
            Event::Pods(change) => {
                // Everything else that changes about a pod changes its endpoints, too.
                let phase = |a: &Pod, b: &Pod| a.status.phase != b.status.phase;
                let effects = progress.apply(&mut around.pods, change, phase);
                let updates = effects.iter().filter(|(_, e)| matches!(*e, "update" | "same"));
                updates.for_each(|_| metrics.kubernetes.event("pod", "update"));
                self.changed.pods.extend(keys(effects));
            }
            Event::Services(change) => {
                let main = self.role == KubernetesRole::Service;
                if main && !around.services.keeps_objects() {
                    each(&change, |service: &Service| {
                        made.insert(service.key(), groups::service(service, around));
                    });
                }
                let effects = progress.apply(&mut around.services, change, any);
                count("service", &effects);
                let to = if main { &mut self.dirty } else { &mut self.changed.services };
                to.extend(keys(effects));
            }
            Event::Endpoints(change) => {
                let effects = progress.apply(&mut self.endpoints, change, any);
                count("endpoints", &effects);
                self.dirty.extend(keys(effects));
            }
            Event::Slices(change) => {
                let effects = progress.apply(&mut self.slices, change, any);
                count("endpointslice", &effects);
                self.dirty.extend(keys(effects));
            }
            Event::Ingresses(change) => {
                if !self.ingresses.keeps_objects() {
                    each(&change, |ingress: &Ingress| {
                        made.insert(ingress.key(), groups::ingress(ingress, around));
                    });
                }
                let effects = progress.apply(&mut self.ingresses, change, any);
                count("ingress", &effects);
                self.dirty.extend(keys(effects));
            }
            Event::NodeMetas(change) => {
                let nodes = around.nodes.get_or_insert_default();
                self.changed.nodes.extend(keys(progress.apply(nodes, change, metas)));
            }
            Event::Namespaces(change) => {
                let namespaces = around.namespaces.get_or_insert_default();
                self.changed.namespaces.extend(keys(progress.apply(namespaces, change, metas)));
            }
            Event::ReplicaSets(change) => {
                let sets = around.replica_sets.get_or_insert_default();
                self.changed.owners.extend(keys(progress.apply(sets, change, owners)));
            }
            Event::Jobs(change) => {
                let jobs = around.jobs.get_or_insert_default();
                self.changed.owners.extend(keys(progress.apply(jobs, change, owners)));
            }
        }
    }

    /// Whether everything that the groups of a namespace tell of has been listed.
    fn is_ready(&self, namespace: &str) -> bool {
        let concerns = |p: &&Progress| p.namespace.is_empty() || p.namespace == namespace;
        self.reflectors.iter().filter(concerns).all(|p| p.synced)
    }

    /// Whether anything can be handed out: one namespace at least is known.
    fn any_ready(&self) -> bool {
        // What is asked for in the whole cluster alone makes no groups where namespaces are looked into.
        let mut namespaces = self.reflectors.iter().filter(|p| !p.namespace.is_empty()).peekable();
        if namespaces.peek().is_none() {
            return self.is_ready("");
        }
        namespaces.any(|p| self.is_ready(&p.namespace))
    }

    /// The groups that have changed, of what is known well enough; `None` if there is nothing to
    /// say. The first time that may be an empty list.
    pub(crate) fn take(
        &mut self,
        made: &mut HashMap<String, TargetGroup>,
    ) -> Option<Vec<TargetGroup>> {
        if !self.any_ready() {
            return None;
        }
        self.mark_neighbours();
        let mut groups = Vec::new();
        let mut waiting = HashSet::new();
        for key in std::mem::take(&mut self.dirty) {
            let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
            if self.is_ready(namespace) {
                groups.extend(self.group(&key, made));
            } else {
                waiting.insert(key);
            }
        }
        self.dirty = waiting;
        let first = !std::mem::replace(&mut self.spoken, true);
        (first || !groups.is_empty()).then_some(groups)
    }

    /// Marks the objects whose groups tell of others that have changed.
    fn mark_neighbours(&mut self) {
        if self.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let namespace = |key: &str| {
            let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
            changed.namespaces.contains(namespace)
        };
        let target = |target: Option<&TargetRef>, node: Option<&str>| {
            node.is_some_and(|node| changed.nodes.contains(node))
                || target.is_some_and(|t| match &*t.kind {
                    "Node" => changed.nodes.contains(&*t.name),
                    "Pod" => {
                        let key = format!("{}/{}", t.namespace, t.name);
                        changed.pods.contains(&key) || self.pod_owner_changed(&key, &changed)
                    }
                    _ => false,
                })
        };
        let mut dirty: Vec<String> = Vec::new();
        let mut mark = |key: &str, is: bool| {
            if is {
                dirty.push(key.to_owned());
            }
        };
        for (key, endpoints) in self.endpoints.values() {
            let addresses = endpoints.subsets.iter();
            let mut addresses =
                addresses.flat_map(|s| s.addresses.iter().chain(&s.not_ready_addresses));
            mark(
                key,
                namespace(key)
                    || changed.services.contains(key)
                    || addresses.any(|a| target(a.target_ref.as_ref(), a.node_name.as_deref())),
            );
        }
        for (key, slice) in self.slices.values() {
            let meta = &slice.metadata;
            let service = meta.labels.get(SERVICE_NAME);
            let service = service.map(|name| format!("{}/{name}", meta.namespace));
            mark(
                key,
                namespace(key)
                    || service.is_some_and(|key| changed.services.contains(&key))
                    || slice
                        .endpoints
                        .iter()
                        .any(|e| target(e.target_ref.as_ref(), e.node_name.as_deref())),
            );
        }
        if self.role == KubernetesRole::Pod {
            for (key, pod) in self.around.pods.values() {
                mark(
                    key,
                    namespace(key)
                        || changed.nodes.contains(&*pod.spec.node_name)
                        || self.pod_owner_changed(key, &changed),
                );
            }
        }
        if self.role == KubernetesRole::Service {
            self.around.services.values().for_each(|(key, _)| mark(key, namespace(key)));
        }
        self.ingresses.values().for_each(|(key, _)| mark(key, namespace(key)));
        self.dirty.extend(dirty);
    }

    fn pod_owner_changed(&self, key: &str, changed: &Neighbours) -> bool {
        if changed.owners.is_empty() {
            return false;
        }
        let Some(pod) = self.around.pods.get(key) else { return false };
        pod.metadata.controller().is_some_and(|owner| {
            changed.owners.contains(&format!("{}/{}", pod.metadata.namespace, owner.name))
        })
    }

    /// The group of an object as it is now.
    fn group(&self, key: &str, made: &mut HashMap<String, TargetGroup>) -> Option<TargetGroup> {
        let around = &self.around;
        let (known, kept, source) = match self.role {
            KubernetesRole::Node => (self.nodes.contains(key), None, groups::node_source(key)),
            KubernetesRole::Pod => (
                around.pods.contains(key),
                around.pods.get(key).map(|pod| groups::pod(pod, around)),
                groups::pod_source(key),
            ),
            KubernetesRole::Service => (
                around.services.contains(key),
                around.services.get(key).map(|service| groups::service(service, around)),
                groups::service_source(key),
            ),
            KubernetesRole::Endpoints => (
                self.endpoints.contains(key),
                self.endpoints.get(key).map(|endpoints| groups::endpoints(endpoints, around)),
                groups::endpoints_source(key),
            ),
            KubernetesRole::EndpointSlice => (
                self.slices.contains(key),
                self.slices.get(key).map(|slice| groups::slice(slice, around)),
                groups::slice_source(key),
            ),
            KubernetesRole::Ingress => (
                self.ingresses.contains(key),
                self.ingresses.get(key).map(|ingress| groups::ingress(ingress, around)),
                groups::ingress_source(key),
            ),
            _ => return None,
        };
        let made = made.remove(key);
        if !known {
            return Some(TargetGroup::gone(source));
        }
        kept.or(made)
    }
}

/// Any change of an object makes a difference.
fn any<T>(_: &T, _: &T) -> bool {
    true
}

/// Calls `visit` for the objects of a change.
fn each<T>(change: &Change<T>, mut visit: impl FnMut(&T)) {
    match change {
        Change::Page(objects) => objects.iter().for_each(visit),
        Change::Put(object) => visit(object),
        Change::Listed | Change::Restarted | Change::Deleted(_) => {}
    }
}
