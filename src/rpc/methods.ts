/**
 * The interfaces that connector and edge call on each other (wire § 9.3). A call names the interface that declares the method,
 * never one that inherits it.
 *
 *     RegistrationServer      edge         0 registerConnection, 1 unregisterConnection, 2 updateLocalConfiguration
 *     SessionManager          both sides   0 registerUdpSession, 1 unregisterUdpSession
 *     ConfigurationManager    connector    0 updateConfiguration
 */
import {
  type UpdateConfigurationParams,
  type UpdateConfigurationResults,
  updateConfigurationParamsType,
  updateConfigurationResultsType,
} from "../protocol/capnp/configuration.ts";
import {
  type RegisterConnectionParams,
  type RegisterConnectionResults,
  registerConnectionParamsType,
  registerConnectionResultsType,
  type UpdateLocalConfigurationParams,
  updateLocalConfigurationParamsType,
} from "../protocol/capnp/registration.ts";
import {
  type RegisterUdpSessionParams,
  type RegisterUdpSessionResults,
  registerUdpSessionParamsType,
  registerUdpSessionResultsType,
  type UnregisterUdpSessionParams,
  unregisterUdpSessionParamsType,
} from "../protocol/capnp/session.ts";
import { emptyType, type StructType } from "../protocol/capnp/struct-type.ts";

export interface Method<Params, Results> {
  readonly name: string;
  readonly interfaceId: bigint;
  readonly methodId: number;
  readonly params: StructType<Params>;
  readonly results: StructType<Results>;
}

const REGISTRATION_SERVER = 0xf71695ec7fe85497n;
const SESSION_MANAGER = 0x839445a59fb01686n;
const CONFIGURATION_MANAGER = 0xb48edfbdaa25db04n;

export const registerConnection: Method<RegisterConnectionParams, RegisterConnectionResults> = {
  name: "registerConnection",
  interfaceId: REGISTRATION_SERVER,
  methodId: 0,
  params: registerConnectionParamsType,
  results: registerConnectionResultsType,
};

export const unregisterConnection: Method<void, void> = {
  name: "unregisterConnection",
  interfaceId: REGISTRATION_SERVER,
  methodId: 1,
  params: emptyType,
  results: emptyType,
};

export const updateLocalConfiguration: Method<UpdateLocalConfigurationParams, void> = {
  name: "updateLocalConfiguration",
  interfaceId: REGISTRATION_SERVER,
  methodId: 2,
  params: updateLocalConfigurationParamsType,
  results: emptyType,
};

export const registerUdpSession: Method<RegisterUdpSessionParams, RegisterUdpSessionResults> = {
  name: "registerUdpSession",
  interfaceId: SESSION_MANAGER,
  methodId: 0,
  params: registerUdpSessionParamsType,
  results: registerUdpSessionResultsType,
};

export const unregisterUdpSession: Method<UnregisterUdpSessionParams, void> = {
  name: "unregisterUdpSession",
  interfaceId: SESSION_MANAGER,
  methodId: 1,
  params: unregisterUdpSessionParamsType,
  results: emptyType,
};

export const updateConfiguration: Method<UpdateConfigurationParams, UpdateConfigurationResults> = {
  name: "updateConfiguration",
  interfaceId: CONFIGURATION_MANAGER,
  methodId: 0,
  params: updateConfigurationParamsType,
  results: updateConfigurationResultsType,
};
