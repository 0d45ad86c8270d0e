//! What there is once for each logical unit of the process: it is found by the unit alone, and by no other number.

use super::UnitIx;
use std::ops::{Deref, DerefMut, Index, IndexMut};

/// One value for each unit, in a vector or a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerUnit<S>(S);

impl<T, S: Deref<Target = [T]>> PerUnit<S> {
    /// The value of a unit. `None`: it has no place here.
    #[inline]
    pub fn get(&self, unit: UnitIx) -> Option<&T> {
        self.0.get(unit.at())
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, unit: UnitIx) -> Option<&mut T>
    where
        S: DerefMut,
    {
        self.0.get_mut(unit.at())
    }

    /// All values, in the order of the units.
    #[inline]
    pub fn all(&self) -> &[T] {
        &self.0
    }

    /// Goes through all values, in the order of the units.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T>
    where
        S: DerefMut,
    {
        self.0.iter_mut()
    }

    /// The units.
    pub fn numbers(&self) -> impl Iterator<Item = UnitIx> + use<T, S> {
        (0..self.0.len()).map(UnitIx::new)
    }

    /// The units, each with its value.
    pub fn numbered<'a>(&'a self) -> impl Iterator<Item = (UnitIx, &'a T)>
    where
        T: 'a,
    {
        self.numbers().zip(self.iter())
    }
}

impl<T> PerUnit<Vec<T>> {
    /// So many values, all the same.
    pub fn filled(value: T, len: usize) -> PerUnit<Vec<T>>
    where
        T: Clone,
    {
        PerUnit(vec![value; len])
    }

    /// A value for the next unit, and which one that is.
    pub fn push(&mut self, value: T) -> UnitIx {
        self.0.push(value);
        UnitIx::new(self.0.len() - 1)
    }

    /// Makes it so many values: new ones are this one.
    pub fn resize(&mut self, len: usize, value: T)
    where
        T: Clone,
    {
        self.0.resize(len, value);
    }

    /// The value of a unit, for which a place is made if there is none.
    pub fn place(&mut self, unit: UnitIx) -> &mut T
    where
        T: Default,
    {
        if self.0.len() <= unit.at() {
            self.0.resize_with(unit.at() + 1, T::default);
        }
        &mut self.0[unit.at()]
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<T, S: Deref<Target = [T]>> Index<UnitIx> for PerUnit<S> {
    type Output = T;

    #[inline]
    fn index(&self, unit: UnitIx) -> &T {
        &self.0[unit.at()]
    }
}

impl<T, S: DerefMut<Target = [T]>> IndexMut<UnitIx> for PerUnit<S> {
    #[inline]
    fn index_mut(&mut self, unit: UnitIx) -> &mut T {
        &mut self.0[unit.at()]
    }
}

impl<T, S: FromIterator<T>> FromIterator<T> for PerUnit<S> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> PerUnit<S> {
        PerUnit(values.into_iter().collect())
    }
}

impl<S: IntoIterator> IntoIterator for PerUnit<S> {
    type Item = S::Item;
    type IntoIter = S::IntoIter;

    fn into_iter(self) -> S::IntoIter {
        self.0.into_iter()
    }
}

/// Tests count units as they stand in the configuration that they make.
#[cfg(test)]
impl<T, S: Deref<Target = [T]>> Index<usize> for PerUnit<S> {
    type Output = T;

    fn index(&self, number: usize) -> &T {
        &self.0[number]
    }
}

#[cfg(test)]
impl<T, S: DerefMut<Target = [T]>> IndexMut<usize> for PerUnit<S> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        &mut self.0[number]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_where_it_was_put() {
        let mut names = PerUnit::default();
        let [first, second] = ["first", "second"].map(|name| names.push(name));
        assert_eq!((names[first], names.get(second)), ("first", Some(&"second")));
        assert_eq!(names.numbered().collect::<Vec<_>>(), [(first, &"first"), (second, &"second")]);
        assert_eq!(names.get(UnitIx::new(2)), None);
        *names.place(UnitIx::new(3)) = "fourth";
        *names.place(first) = "other";
        assert_eq!(names.all(), ["other", "second", "", "fourth"]);
    }
}
