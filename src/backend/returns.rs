//! A stack that any thread puts something on, and one core takes all of at once.
//!
//! Nobody waits here, and it is never full: a place in it is the node that comes with the thing, which was there before. Who
//! puts something on an empty one is told so, and wakes the core: whatever is put on top until then is taken along.
//!
//! Invariants: `head` is null, [`closed`], or a node that was made by `Box`, whose `next` is null or such a node; all of
//! them belong to the stack. A node gets there once, and by whoever owned it.
//!
//! `tests/models.rs` runs this very file under loom.

#![allow(unsafe_code)]

use crate::atomics::{AtomicPtr, Ordering};
use std::ptr;

/// A place in a stack, with what is in it.
pub struct Node<T> {
    next: *mut Node<T>,
    /// What is in it.
    pub value: T,
}

// SAFETY: `next` is used by the stack only, which owns what it points to.
unsafe impl<T: Send> Send for Node<T> {}

impl<T> Node<T> {
    /// A place that is in no stack.
    pub fn new(value: T) -> Node<T> {
        Node { next: ptr::null_mut(), value }
    }
}

/// The stack.
pub struct Returns<T>(AtomicPtr<Node<T>>);

/// Stands for the head of a stack that takes nothing any more. It is no node, and never looked at.
fn closed<T>() -> *mut Node<T> {
    ptr::dangling_mut()
}

impl<T> Returns<T> {
    /// An empty one.
    pub fn new() -> Returns<T> {
        Returns(AtomicPtr::new(ptr::null_mut()))
    }

    /// Puts a node on it. True: nothing was there, and the core is to be woken. Of one that is closed nothing comes back.
    pub fn put(&self, mut node: Box<Node<T>>) -> bool {
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            if head == closed() {
                return false;
            }
            node.next = head;
            let raw = Box::into_raw(node);
            // What the node says is seen by who takes it: Release.
            match self.0.compare_exchange(head, raw, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return head.is_null(),
                Err(other) => {
                    head = other;
                    // SAFETY: it came from `Box::into_raw`, just above, and nobody else was shown it.
                    node = unsafe { Box::from_raw(raw) };
                }
            }
        }
    }

    /// Takes all that is there, in the order in which it was put there.
    pub fn take(&self) -> Taken<T> {
        Taken::of(self.0.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// As [`Returns::take`], and from now on what is put there is dropped.
    pub fn close(&self) -> Taken<T> {
        Taken::of(self.0.swap(closed(), Ordering::Acquire))
    }
}

impl<T> Drop for Returns<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

/// What was taken of a stack; what is left of it is dropped with it.
pub struct Taken<T>(*mut Node<T>);

impl<T> Taken<T> {
    /// Turns the list that begins at `head` round: the stack has what came last on top.
    fn of(mut head: *mut Node<T>) -> Taken<T> {
        let mut first = ptr::null_mut();
        if head == closed() {
            head = first;
        }
        while !head.is_null() {
            // SAFETY: a node of the stack, which was the stack's own and is ours since the swap.
            let node = unsafe { &mut *head };
            (head, node.next, first) = (node.next, first, head);
        }
        Taken(first)
    }
}

impl<T> Iterator for Taken<T> {
    type Item = Box<Node<T>>;

    fn next(&mut self) -> Option<Box<Node<T>>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: a node of the list, made by `Box`, which the list owns; it is taken out of it.
        let mut node = unsafe { Box::from_raw(self.0) };
        self.0 = std::mem::replace(&mut node.next, ptr::null_mut());
        Some(node)
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
